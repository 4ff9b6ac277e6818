"""Forecasts of short series with a learned prior, and the series they are tested on.

from scalinglaws.forecasting.forecast import forecast
python -m scalinglaws.forecasting.prior learn
"""
