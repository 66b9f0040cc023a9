"""The layout of DESIGN.md section 3, as claims about imports."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Collection, Iterator
from functools import cache
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import dspy
import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "tfgrpo_dspy"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
MAY_IMPORT = {
    "tfgrpo_dspy": set(),
    "programs": {"tfgrpo_dspy"},
    "optimizers": {"tfgrpo_dspy", "programs"},
    "evals": {"tfgrpo_dspy", "programs", "optimizers"},
}
FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef
HEAVY = {"datasets", "litellm", "matplotlib", "mlflow", "pandas", "scipy", "starlette", "typer", "uvicorn"}


def modules_of(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


def is_for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def nodes_of(tree: ast.AST, *, at_import: bool) -> Iterator[ast.AST]:
    """All nodes below; `at_import` leaves out what an import of the module does not run."""
    for node in ast.iter_child_nodes(tree):
        later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or is_for_type_checkers(node)
        if not (at_import and later):
            yield node
            yield from nodes_of(node, at_import=at_import)


@cache
def imports_of(path: Path, *, at_import: bool = False) -> set[str]:
    """Dotted names that a module imports: `a.b.c` for `from a.b import c` if that is a module, else `a.b`."""
    package = path.relative_to(ROOT).parent.parts
    names: set[str] = set()
    for node in nodes_of(tree_of(path), at_import=at_import):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            submodules = {f"{module}.{alias.name}" for alias in node.names if is_module(f"{module}.{alias.name}")}
            names |= submodules if len(submodules) == len(node.names) else submodules | {module}
    return names


@cache
def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def packages_in(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(name: str) -> str:
    """The folder, or file of the root, that a dotted name of a house stands in."""
    return name.split(".")[1]


@cache
def modules(house: str = "tfgrpo_dspy") -> dict[str, Path]:
    """Dotted name to path, of every module of a house but those of its root that only open the door."""
    doors = {ROOT / house / "__init__.py", ROOT / house / "__main__.py"}
    return {module_name(path): path for path in modules_of(ROOT / house) if path not in doors}


def uses_of(path: Path, known: Collection[str], *, at_import: bool = False) -> set[str]:
    """Modules of its house that a module imports, those for type checkers and within functions included."""
    return {name for name in imports_of(path, at_import=at_import) if name in known} - {module_name(path)}


@cache
def rooms_used(house: str = "tfgrpo_dspy") -> dict[str, set[str]]:
    """Each room to the rooms that it imports from."""
    known, rooms = modules(house), {}
    for name, path in known.items():
        used = {room_of(other) for other in uses_of(path, known)} - {room_of(name)}
        rooms.setdefault(room_of(name), set()).update(used)
    return rooms


HOUSES = ("tfgrpo_dspy", "evals")
"""In the order in which docs/architecture.md draws them."""


@cache
def floors(house: str = "tfgrpo_dspy") -> dict[str, int]:
    """The floor of each room, as docs/architecture.md draws them: `12  cli/` is a line of its picture."""
    _, *pictures = re.findall(r"^```\n(.*?)^```", ARCHITECTURE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    drawn = re.findall(r"^ *(\d+) +((?:[a-z_]+(?:/|\.py) *)+)", pictures[HOUSES.index(house)], re.MULTILINE)
    return {room.rstrip("/").removesuffix(".py"): int(floor) for floor, rooms in drawn for room in rooms.split()}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_point_one_way(package):
    for path in modules_of(ROOT / package):
        ours = packages_in(imports_of(path)) & {*MAY_IMPORT, "tests"}
        assert ours <= MAY_IMPORT[package] | {package}, label(path)


def public_names() -> dict[str, set[str]]:
    """Folders of the library that say what is public in them, to these names."""
    found = {}
    for path in LIBRARY.rglob("__init__.py"):
        for node in tree_of(path).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                found[module_name(path)] = set(ast.literal_eval(node.value))
    return found


def defined_in(body: list[ast.stmt]) -> set[str]:
    """Names that the statements of a module define, rather than import."""
    found: set[str] = set()
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
        elif isinstance(node, ast.If | ast.Try | ast.With):
            found |= defined_in([*node.body, *getattr(node, "orelse", [])])
            found |= {name for handler in getattr(node, "handlers", []) for name in defined_in(handler.body)}
    return found


@cache
def names_of(path: Path) -> set[str]:
    return defined_in(tree_of(path).body)


@pytest.mark.parametrize("path", [path for path in modules_of(LIBRARY) if path.stem != "__init__"], ids=label)
def test_a_name_is_imported_from_the_module_that_defines_it(path):
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "tfgrpo_dspy":
            place = ROOT.joinpath(*node.module.split("."))
            home = place.with_suffix(".py") if place.with_suffix(".py").is_file() else place / "__init__.py"
            inner = {a.name for a in node.names if not is_module(f"{node.module}.{a.name}")} - names_of(home)
            assert not inner, f"{label(path)} takes {', '.join(inner)} from {node.module}, which only imports it"


@pytest.mark.parametrize("package", sorted({*MAY_IMPORT} - {"tfgrpo_dspy"}))
def test_programs_optimizers_and_evals_use_public_names_only(package):
    public = public_names()
    for path in modules_of(ROOT / package):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "tfgrpo_dspy":
                inner = {alias.name for alias in node.names} - public.get(node.module, set())
                assert not inner, f"{label(path)} takes {', '.join(inner)} from {node.module}, which are not public"
            elif isinstance(node, ast.Import):
                assert not [alias for alias in node.names if alias.name.startswith("tfgrpo_dspy.")], label(path)


@pytest.mark.parametrize("house", HOUSES)
def test_every_room_has_the_floor_that_the_newcomer_is_shown(house):
    assert floors(house).keys() == rooms_used(house).keys()


def stops() -> list[list[str]]:
    """The files that an example comes by in each of the three steps, as docs/architecture.md draws them."""
    drawn = re.findall(
        r"^(?:  \|  \d\.|\w+ +([a-z_/]+\.py) .*->)", ARCHITECTURE.read_text(encoding="utf-8"), re.MULTILINE
    )
    ends = [at for at, file in enumerate(drawn) if not file]
    return [drawn[:1] + drawn[ends[0] + 1 : ends[1]], drawn[ends[1] + 1 : ends[2]], drawn[ends[2] + 1 :]]


def test_the_way_of_an_example_is_one_file_per_stop_and_goes_down_in_each_step():
    assert [len(way) for way in stops()] == [3, 2, 3]
    for way in stops():
        assert all((LIBRARY / file).is_file() for file in way)
        passed = [floors()[file.partition("/")[0].removesuffix(".py")] for file in way]
        assert passed == sorted(passed, reverse=True), way


@pytest.mark.parametrize(
    ("house", "room"), [(house, room) for house in HOUSES for room in sorted({*map(room_of, modules(house))})]
)
def test_a_room_imports_from_lower_floors_only(house, room):
    floor = floors(house)
    for used in rooms_used(house)[room]:
        assert floor[used] < floor[room], f"{room}/ (floor {floor[room]}) uses {used} (floor {floor[used]})"


@pytest.mark.parametrize("house", MAY_IMPORT)
def test_no_imports_form_a_circle_not_even_for_types(house):
    known = modules(house)
    TopologicalSorter({name: uses_of(path, known) for name, path in known.items()}).prepare()  # CycleError names it


def is_public_in_dspy(module: str, name: str) -> bool:
    """Whether DSPy shows the name: in its root, in a module right below, or in a package that stands for its inside."""
    inner = import_module(module)
    if any(part.startswith("_") for part in (*module.split("."), name)):
        return False
    stands_open = module.count(".") <= 1 or hasattr(inner, "__path__")
    return stands_open or getattr(inner, name) in (getattr(dspy, name, None), getattr(dspy.utils, name, None))


@pytest.mark.parametrize("path", [p for p in modules_of(LIBRARY) if p.parent.name != "lm"], ids=label)
def test_only_the_room_of_language_models_touches_what_dspy_does_not_show(path):
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "dspy":
            hidden = [alias.name for alias in node.names if not is_public_in_dspy(node.module, alias.name)]
            assert not hidden, f"{label(path)} takes {hidden} from {node.module}"
        elif isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            known = node.attr in names_set_in_the_library() or hasattr(os, node.attr)
            assert known, f"{label(path)}:{node.lineno} reaches for {ast.unparse(node)}"


@cache
def names_set_in_the_library() -> set[str]:
    """Private names that some module of the library defines or sets, so that they are its own; and a NamedTuple's."""
    found = {"_asdict", "_fields", "_make", "_replace"}
    for path in modules_of(LIBRARY):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, FUNCTION | ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
                found.add(node.id if isinstance(node, ast.Name) else node.attr)
    return found


VALUES = ("looks", "records", "statistics")
"""Rooms of what a run leaves: values, their figures and their looks, which name each other for what they show."""


@pytest.mark.parametrize("room", ["library", *VALUES])
def test_values_and_what_is_done_to_them_know_no_host(room):
    for path in modules_of(LIBRARY / room):
        assert not packages_in(imports_of(path, at_import=True)) & {"dspy", *HEAVY}, label(path)


@pytest.mark.parametrize("house", HOUSES)
def test_the_root_holds_what_a_newcomer_opens_first(house):
    assert len(list((ROOT / house).glob("*.py"))) <= 8


FOLDERS = sorted({path.parent for house in (*MAY_IMPORT, "tests") for path in modules_of(ROOT / house)})


@pytest.mark.parametrize("folder", FOLDERS, ids=label)
def test_a_folder_can_be_taken_in_at_a_glance(folder):
    assert len(list(folder.glob("*.py"))) <= 18


@pytest.mark.parametrize("path", modules_of(LIBRARY), ids=label)
def test_only_the_observers_know_mlflow(path):
    if not {LIBRARY / "observers", LIBRARY / "interop"} & {*path.parents}:  # and the room for what is MLflow's own
        assert "mlflow" not in packages_in(imports_of(path))


@pytest.mark.parametrize("path", modules_of(LIBRARY), ids=label)
def test_nothing_is_printed_by_the_library(path):
    calls = (node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call))
    assert not [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]


@pytest.mark.parametrize("path", [*modules_of(LIBRARY / "observers"), *modules_of(LIBRARY / "reports")], ids=label)
def test_who_tells_of_a_run_never_steers_it(path):
    told_with = {
        "errors",
        "history",
        "library",
        "looks",
        "names",
        "program",
        "records",
        "reports",
        "settings",
        "statistics",
        "text",
    }
    values = {"tfgrpo_dspy.lm.usage", "tfgrpo_dspy.runtime.pickling"}
    used = uses_of(path, modules()) - values
    assert {room_of(name) for name in used} <= told_with | {room_of(module_name(path))}


def test_the_simulated_lm_knows_neither_the_optimizer_nor_its_prompts():
    for path in modules_of(LIBRARY / "simulated"):
        used = {room_of(name) for name in uses_of(path, modules())}
        assert used <= {"errors", "names", "simulated"}, label(path)


IMPORT_ROOMS = """
import importlib, json, sys
rooms = {rooms!r}
for room in rooms:
    importlib.import_module(room)
print(json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""


def test_importing_a_public_room_loads_nothing_heavy(tmp_path):
    code = IMPORT_ROOMS.format(rooms=sorted(public_names()))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert not set(json.loads(done.stdout)) & {"dspy", "rich", *HEAVY}


COMPILE = """
import json, sys, threading
import dspy
ran = set()

def note(frame, event, argument):
    code = frame.f_code
    if event == "call" and code.co_filename == "<string>":  # made by dataclass or NamedTuple
        ran.add((type(frame.f_locals.get("self")).__module__, 0))
    elif event == "call" and code.co_name != "<module>" and "tfgrpo_dspy" in code.co_filename:
        ran.add((code.co_filename, code.co_firstlineno))

threading.setprofile(note)
sys.setprofile(note)
from tests.tfgrpo_dspy.scripted import Engine, exact, examples, script
from tfgrpo_dspy import TrainingFreeGRPO
class Solver(dspy.Module):
    def __init__(self):
        self.answer = dspy.Predict("question -> answer")

    def forward(self, question):
        if question == "q3?":
            raise ValueError("a program that fails now and then, as they do")
        return self.answer(question=question)

with dspy.context(lm=Engine(script()).lm()):
    made = TrainingFreeGRPO(exact, seed=1).compile(Solver(), examples(4))
sys.setprofile(None)
threading.setprofile(None)
assert len(made.experience_library)
loaded = [name for name in sys.modules if name.startswith("tfgrpo_dspy.")]
print(json.dumps({"loaded": loaded, "ran": sorted(ran)}))
"""


def bodies_of(path: Path) -> set[int]:
    """First lines of the functions of a module, decorators included, as their code objects have them."""
    functions = [n for n in ast.walk(tree_of(path)) if isinstance(n, FUNCTION)]
    return {min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]) for node in functions}


def test_a_default_compile_loads_nothing_that_it_does_not_use():
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seen, known = json.loads(done.stdout), modules()
    ran = {(name, line) for name, line in seen["ran"]}
    made = {name for name, _ in ran}
    idle = [
        name
        for name in seen["loaded"]
        if (bodies := bodies_of(known[name]))
        and name not in made
        and not any((str(known[name]), line) in ran for line in bodies)
        and room_of(name) not in VALUES
    ]
    assert not idle, "import these where they are asked for, or under TYPE_CHECKING"


REPORT = """
import json, logging, random, sys, threading
state = random.getstate()
import tfgrpo_dspy
print(json.dumps({
    "modules": sorted({name.partition(".")[0] for name in sys.modules}),
    "handlers": [str(h) for h in logging.getLogger("tfgrpo_dspy").handlers],
    "threads": threading.active_count(),
    "seeded": random.getstate() != state,
}))
"""


def test_importing_the_library_does_nothing(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    environment = {**os.environ, "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(ROOT)}
    del environment["DSPY_CACHEDIR"]
    done = subprocess.run(
        [sys.executable, "-W", "error:::tfgrpo_dspy", "-c", REPORT],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert not set(seen["modules"]) & HEAVY
    assert (seen["handlers"], seen["threads"], seen["seeded"]) == ([], 1, False)
    assert list(tmp_path.rglob("*")) == [home]
