# Three images from one file; the last is what a plain `docker build .` makes.
#   --target training   trains, evaluates and promotes; holds the starter corpus
#   --target mlflow     the MLflow server that keeps runs and models
#   --target serving    answers over HTTP and scores files; no training library is in it
# Package indexes other than pip's default: --build-arg PIP_INDEX_URL=…, --build-arg PIP_EXTRA_INDEX_URL=…

FROM python:3.11-slim AS build
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
WORKDIR /src
# No pip inside: an image is replaced whole, nothing is installed into it later.
RUN python -m venv --without-pip /opt/venv
COPY pyproject.toml README.md constraints.txt ./
COPY earful earful
COPY training training
COPY serving serving
RUN --mount=type=cache,target=/var/cache/pip \
    pip --cache-dir /var/cache/pip --python /opt/venv/bin/python install --constraint constraints.txt .

FROM build AS build-training
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
RUN --mount=type=cache,target=/var/cache/pip \
    pip --cache-dir /var/cache/pip --python /opt/venv/bin/python install --constraint constraints.txt '.[train]'

FROM python:3.11-slim AS build-mlflow
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
RUN python -m venv --without-pip /opt/venv
COPY constraints.txt .
RUN --mount=type=cache,target=/var/cache/pip \
    pip --cache-dir /var/cache/pip --python /opt/venv/bin/python install --constraint constraints.txt mlflow psycopg2-binary

FROM python:3.11-slim AS runtime
# A fixed uid, so that volumes keep their owner, and given as a number, so that a cluster can see that it is not root.
RUN useradd --uid 10001 --create-home earful
# There is no git in the images, and MLflow would complain of it at every run. ONNX Runtime and MLflow report their use
# to their makers unless told not to.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    GIT_PYTHON_REFRESH=quiet \
    ORT_DISABLE_TELEMETRY=1 \
    MLFLOW_DISABLE_TELEMETRY=true
USER 10001
WORKDIR /home/earful

FROM runtime AS training
COPY --from=build-training /opt/venv /opt/venv
COPY data data
ENTRYPOINT ["earful"]
CMD ["--help"]

FROM runtime AS mlflow
COPY --from=build-mlflow /opt/venv /opt/venv
# A new volume mounted here takes its owner from this folder.
RUN mkdir artifacts
EXPOSE 5000
ENTRYPOINT ["mlflow"]
CMD ["server", "--host", "0.0.0.0"]

FROM runtime AS serving
COPY --from=build /opt/venv /opt/venv
# In a container the default, loopback, could not be reached from outside. `serve --host` still goes first.
ENV EARFUL_HOST=0.0.0.0 \
    EARFUL_PORT=8000
EXPOSE 8000
# Fetching the model and its smoke test come before the first answer.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s CMD ["python", "-c", \
    "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"EARFUL_PORT\"]}/healthz', timeout=4)"]
ENTRYPOINT ["earful"]
CMD ["serve"]
