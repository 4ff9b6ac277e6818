"""What each verb does: parsed arguments in, a Reply out, as JSON and as lines for people."""

from scalinglaws.commands.decisions import ask, crossover, design, guidance, optimum
from scalinglaws.commands.files import list_studies, new, report, show_schema
from scalinglaws.commands.forecasts import backtest, forecast
from scalinglaws.commands.laws import compare, fit, predict
from scalinglaws.commands.reading import Reply
from scalinglaws.commands.training import allocate

__all__ = [
    "Reply", "allocate", "ask", "backtest", "compare", "crossover", "design", "fit", "forecast", "guidance",
    "list_studies", "new", "optimum", "predict", "report", "show_schema",
]  # fmt: skip
