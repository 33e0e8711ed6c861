"""The visit counter on Django: bare, and with its sessions.

They are kept in the cache, which is Redis, or in the database, which is
PostgreSQL and the engine that Django has by default.
"""

from secrets import token_urlsafe
from urllib.parse import unquote, urlsplit

import django
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.db import connection
from django.http import HttpResponse
from django.urls import path

# What sets Content-Length, without which gunicorn answers in chunks.
COMMON = "django.middleware.common.CommonMiddleware"
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"

urlpatterns = [path("none", lambda request: HttpResponse("none"))]


def bare(_url):
    configure(MIDDLEWARE=[COMMON])
    urlpatterns.extend(
        [
            path("read", lambda request: HttpResponse("0")),
            path("write", lambda request: HttpResponse("1")),
        ]
    )


def cached_sessions(url):
    configure(
        MIDDLEWARE=[SESSIONS, COMMON],
        SESSION_ENGINE="django.contrib.sessions.backends.cache",
        CACHES={
            "default": {
                "BACKEND": "django_redis.cache.RedisCache",
                "LOCATION": url,
            }
        },
    )
    urlpatterns.extend(counter)


def database_sessions(url):
    server = urlsplit(url)
    configure(
        MIDDLEWARE=[SESSIONS, COMMON],
        INSTALLED_APPS=["django.contrib.sessions"],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "HOST": server.hostname,
                "PORT": server.port,
                "USER": server.username,
                "PASSWORD": unquote(server.password),
                "NAME": server.path[1:],
                "CONN_MAX_AGE": None,  # by default one for each request
            }
        },
    )
    call_command("migrate", verbosity=0)
    connection.close()  # so that no worker inherits it
    urlpatterns.extend(counter)


def read(request):
    return HttpResponse(str(request.session.get("visits", 0)))


def write(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return HttpResponse(str(request.session["visits"]))


counter = [path("read", read), path("write", write)]


def configure(**own):
    settings.configure(
        SECRET_KEY=token_urlsafe(),
        ALLOWED_HOSTS=["127.0.0.1"],
        ROOT_URLCONF=__name__,
        **own,
    )
    django.setup()


LAYERS = {
    "bare": bare,
    "cached sessions (django-redis)": cached_sessions,
    "database sessions": database_sessions,
}


def create_app(layer, url):
    LAYERS[layer](url)
    return get_wsgi_application()
