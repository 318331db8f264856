"""What may come and what was planned: budgets, forecasts, anomalies; they change no charge."""
