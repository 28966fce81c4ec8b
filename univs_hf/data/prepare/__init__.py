# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""Conversion of the datasets' official layouts to Parquet files of rows: `univs prepare`."""
