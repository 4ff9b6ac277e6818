"""Forecasts of short series, and the prior they learn from."""

from scalinglaws.forecasting.forecast import Forecast, forecast

__all__ = ["Forecast", "forecast"]
