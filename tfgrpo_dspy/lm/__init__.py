"""The one place that talks of requests and money: what a call takes, how fast, how often, and what it may cost."""
