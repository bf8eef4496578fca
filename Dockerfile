# One image per app: docker build --build-arg APP=trader -t onetape-trader .
# docker/install.py holds the install steps; CI makes its environments with the same script.
# With other people's packages: --build-arg EXTRAS=talib (docs/packages.md).
FROM python:3.11-slim-bookworm AS builder
ARG APP
ARG EXTRAS=""
WORKDIR /src
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY docker/install.py docker/install.py
COPY requirements requirements
RUN python docker/install.py --app "$APP" --extras "$EXTRAS" --venv /opt/venv requirements
COPY packages packages
COPY apps apps
RUN python docker/install.py --app "$APP" --venv /opt/venv members

FROM python:3.11-slim-bookworm
ARG APP
LABEL org.opencontainers.image.title="onetape-${APP}" org.opencontainers.image.licenses="MIT"
# data/ is 0700 and belongs to the user: a new named volume mounted there takes both over.
RUN groupadd --gid 10001 onetape \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /app --shell /usr/sbin/nologin onetape \
 && install -d -o 10001 -g 10001 -m 0700 /app/data \
 && install -d /app/user \
 && ln -s "/opt/venv/bin/${APP}" /usr/local/bin/onetape
COPY --from=builder /opt/venv /opt/venv
COPY config /app/config
WORKDIR /app
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
VOLUME /app/data
STOPSIGNAL SIGTERM
ENTRYPOINT ["onetape"]
