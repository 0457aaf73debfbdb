# SPDX-License-Identifier: Apache-2.0
"""What watches gateways, as code: ``python -m deploy.monitoring`` writes the files that Prometheus and Grafana read.

One source, several files: what an alert asks, says and calls severe stands once, and is written for Prometheus, for
the Prometheus operator and for Grafana. ``--check`` writes nothing and says which files are not what the code makes.
"""
