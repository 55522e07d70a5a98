"""The guide: `python -m sphinx -W -b html docs docs/_build/html`, offline; every code cell is executed."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # round_in_forty_lines

import laser_wireless

os.environ.setdefault("PYTHONWARNINGS", "ignore")  # of the kernel's own machinery, not of the pages

project = "laser-wireless"
copyright = "the laser-wireless developers"
version = release = laser_wireless.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "jupyter_execute", "requirements.txt"]
html_theme = "furo"
html_title = f"laser-wireless {version}"
html_static_path = ["_static"]
html_css_files = ["guide.css"]
html_show_sphinx = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

nb_execution_mode = "cache"
nb_execution_raise_on_error = True
nb_execution_timeout = 180
nb_merge_streams = True

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": False, "undoc-members": False}
autosummary_generate = False
napoleon_google_docstring = True
napoleon_numpy_docstring = False
suppress_warnings = ["mystnb.unknown_mime_type"]
