"""The project as a server runs it; DJANGO_DATABASE names the database, which has users already."""

from __future__ import annotations

import os

import django_project
from django.core.wsgi import get_wsgi_application

django_project.configure(os.environ["DJANGO_DATABASE"], LIMPET_SESSION_DEADLINE_S=1.0)  # busy machines
application = get_wsgi_application()
