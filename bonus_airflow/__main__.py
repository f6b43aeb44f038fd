"""``.venv-airflow/bin/python -m bonus_airflow ARGUMENTS``: Airflow's own command line, with the settings of ``make airflow``."""

import os
import sys

from bonus_airflow.environment import airflow_environment, airflow_home, airflow_port

if __name__ == "__main__":
    os.execvpe("airflow", ["airflow", *sys.argv[1:]], airflow_environment(airflow_home(), airflow_port()))  # noqa: S606, S607 - found on the PATH that it is given
