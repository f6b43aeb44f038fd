"""`pipeline report`: a day's or an hour's totals per product, reconciled between topic, file and database."""
