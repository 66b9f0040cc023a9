"""The paper's tables, one file each: `tfgrpo paper NAME`."""
