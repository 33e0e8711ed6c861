"""The visit counter on Flask: bare, and with Flask-Session on Redis.

Its options are the default ones, with which it signs no cookie and takes
whatever id a visitor brings.
"""

from flask import Flask, session
from flask_session import Session
from redis import Redis


def bare(app, _url):
    @app.get("/read")
    def read():
        return "0"

    @app.get("/write")
    def write():
        return "1"


def flask_session(app, url):
    app.config.update(SESSION_TYPE="redis", SESSION_REDIS=Redis.from_url(url))
    Session(app)

    @app.get("/read")
    def read():
        return str(session.get("visits", 0))

    @app.get("/write")
    def write():
        session["visits"] = session.get("visits", 0) + 1
        return str(session["visits"])


LAYERS = {"bare": bare, "Flask-Session": flask_session}


def create_app(layer, url):
    app = Flask(__name__)

    @app.get("/none")
    def none():
        return "none"

    LAYERS[layer](app, url)
    return app
