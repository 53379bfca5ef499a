# Every image of the stack, one stage each, all from one base.
#
#   docker build --target fastroute -t fastroute .        router, controller, page and ctl (the default)
#
# Classic builder and BuildKit both build it; the classic one builds every stage above the one that is wanted, which
# is why the cheap ones come first. Nothing has to be passed to it. What PyPI gives is fixed by hash (requirements/);
# Debian's packages are the newest of the suite, with its security updates, and signed by Debian. To fix the base too:
#
#   docker build --build-arg BASE_IMAGE=debian:trixie-slim@sha256:... .        (compose: FASTROUTE_BASE_IMAGE)

ARG BASE_IMAGE=debian:trixie-slim
FROM ${BASE_IMAGE} AS base
# One user for each side of a socket, one group for those who meet at it. The folders are where the stack's volumes are
# mounted: a fresh volume takes over owner and mode of the folder it covers, so every image that mounts one has it.
#   front    router makes the socket, nginx (the group) connects to it and can do no more
#   control  subscriptions and administration: router and controller alone, the same user
#   docker   in a swarm: socket-proxy makes the socket, the controller (the group) asks there; in their images
#   nginx    the agent's socket, in nginx mode: controller (the group) connects to it
#   challenge  where challenges are announced and keys are read, and no more: router makes the sockets, certs (the group)
#            connects to them
#   certs    what certs answers: challenges to the router (in nginx mode to nginx), certificates to fastroute-ctl
#   /var/lib/fastroute/certificates   what certs writes, and nginx (the group) reads, private keys too: in their images
#   /etc/nginx/fastroute   what the controller writes in nginx mode, and nginx (the group) reads
RUN groupadd --gid 10001 fastroute \
 && useradd --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin --uid 10001 --gid 10001 fastroute \
 && useradd --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin --uid 10002 --gid 10001 nginx \
 && useradd --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin --uid 10003 --gid 10001 certs \
 && install -d -o root -g root -m 0755 /run/fastroute \
 && install -d -o 10001 -g 10001 -m 0750 /run/fastroute/front \
 && install -d -o 10001 -g 10001 -m 0700 /run/fastroute/control \
 && install -d -o 10002 -g 10001 -m 0750 /run/fastroute/nginx \
 && install -d -o 10001 -g 10001 -m 0750 /run/fastroute/challenge \
 && install -d -o 10003 -g 10001 -m 0750 /run/fastroute/certs \
 && install -d -o root -g root -m 0755 /etc/nginx \
 && install -d -o 10001 -g 10001 -m 0750 /etc/nginx/fastroute \
 && install -d -o 10001 -g 10001 -m 0700 /var/lib/fastroute


# --- nginx, for the two images below: what both have of it is in memory once
FROM base AS debian-nginx
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends nginx \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /etc/nginx/sites-enabled /etc/nginx/sites-available /etc/nginx/conf.d /var/log/nginx

# --- nginx in front: HTTP in, uwsgi out (or HTTP), by a unix socket
FROM debian-nginx AS nginx
RUN install -d -o 10002 -g 10001 -m 0700 /var/cache/nginx \
 && install -d -o root -g 10001 -m 0710 /var/lib/fastroute \
 && install -d -o 10003 -g 10001 -m 2750 /var/lib/fastroute/certificates
COPY compose/nginx/nginx.conf compose/nginx/nginx-http.conf compose/nginx/two-routers.conf /etc/nginx/
COPY compose/nginx/start-nginx compose/nginx/tls-options compose/nginx/http-ok /usr/local/bin/
LABEL org.opencontainers.image.title="fastroute nginx" \
      org.opencontainers.image.description="nginx in front of fastroute-router" \
      org.opencontainers.image.licenses="MIT"
USER 10002:10001
EXPOSE 8080 8443
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s CMD ["http-ok", "8081", "/"]
ENTRYPOINT ["start-nginx"]


# --- socket-proxy: the few reads of Docker's API that the controller needs
FROM debian-nginx AS socket-proxy
COPY compose/socket-proxy/nginx.conf /etc/nginx/socket-proxy.conf
COPY compose/socket-proxy/start-proxy compose/socket-proxy/engine-ok /usr/local/bin/
RUN install -d -o root -g 10001 -m 2750 /run/fastroute/docker
LABEL org.opencontainers.image.title="fastroute socket-proxy" \
      org.opencontainers.image.description="read-only door to Docker's API for fastroute-controller" \
      org.opencontainers.image.licenses="MIT"
# root without a single capability: it owns Docker's socket, whatever the number of the group docker is here.
USER 0:0
EXPOSE 2375
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=5s --start-period=10s CMD ["engine-ok"]
ENTRYPOINT ["start-proxy"]


# --- demo application foo.com: Bottle behind uWSGI, all from Debian
FROM base AS foo
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends python3-bottle uwsgi-core uwsgi-plugin-python3 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
COPY compose/demo/foo.py compose/demo/uwsgi-ok /app/
LABEL org.opencontainers.image.title="fastroute demo foo" \
      org.opencontainers.image.description="a Bottle application behind uWSGI" \
      org.opencontainers.image.licenses="MIT"
USER nobody
EXPOSE 3031
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s CMD ["/app/uwsgi-ok", "3031", "/"]
# The hook: at SIGTERM, requests that it works on are finished (--die-on-term would cut them off).
ENTRYPOINT ["uwsgi", "--plugin", "python3", "--socket", ":3031", "--wsgi-file", "/app/foo.py", "--callable", "app", \
            "--master", "--processes", "2", "--need-app", "--disable-logging", "--buffer-size", "65535", \
            "--hook-master-start", "unix_signal:15 gracefully_kill_them_all"]


# --- Python, for everything below
FROM base AS python
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends python3 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1


# --- nginx mode: nginx with the agent beside it, by which the controller tests and reloads what it wrote
FROM python AS nginx-mode
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends nginx \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /etc/nginx/sites-enabled /etc/nginx/sites-available /etc/nginx/conf.d /var/log/nginx \
 && install -d -o 10002 -g 10001 -m 0700 /var/cache/nginx \
 && install -d -o root -g 10001 -m 0710 /var/lib/fastroute \
 && install -d -o 10003 -g 10001 -m 2750 /var/lib/fastroute/certificates
COPY compose/nginx/nginx-mode.conf /etc/nginx/nginx.conf
COPY compose/nginx/start-nginx-mode compose/nginx/tls-options compose/nginx/http-ok /usr/local/bin/
# The agent is standard library only: these files are all of it.
COPY src/fastroute/__init__.py /opt/agent/fastroute/
COPY controller/__init__.py /opt/agent/fastroute/controller/
COPY controller/nginx/__init__.py controller/nginx/agent.py controller/nginx/local.py controller/nginx/candidate_config.py /opt/agent/fastroute/controller/nginx/
ENV PYTHONPATH=/opt/agent
LABEL org.opencontainers.image.title="fastroute nginx" \
      org.opencontainers.image.description="nginx served by fastroute-controller in nginx mode" \
      org.opencontainers.image.licenses="MIT"
USER 10002:10001
EXPOSE 8080 8443
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s CMD ["http-ok", "8081", "/"]
ENTRYPOINT ["start-nginx-mode"]


FROM python AS pip
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends python3-venv \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*


# --- demo application bar.com: gunicorn, speaking uwsgi
FROM pip AS bar-build
COPY requirements/demo.lock /tmp/
RUN python3 -m venv /opt/bar \
 && /opt/bar/bin/pip install --no-cache-dir --require-hashes --requirement /tmp/demo.lock \
 && rm -rf /opt/bar/lib/python3*/site-packages/pip /opt/bar/lib/python3*/site-packages/pip-*

FROM python AS bar
COPY --from=bar-build /opt/bar /opt/bar
COPY compose/demo/bar.py compose/demo/uwsgi-ok /app/
LABEL org.opencontainers.image.title="fastroute demo bar" \
      org.opencontainers.image.description="a WSGI application behind gunicorn with the uwsgi protocol" \
      org.opencontainers.image.licenses="MIT"
USER nobody
WORKDIR /app
EXPOSE 3031
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s CMD ["/app/uwsgi-ok", "3031", "/"]
# Its peer is the router, on a network of our own: gunicorn would else take uwsgi from loopback only.
ENTRYPOINT ["/opt/bar/bin/gunicorn", "--bind", "0.0.0.0:3031", "--protocol", "uwsgi", "--uwsgi-allow-from", "*", \
            "--workers", "2", "--worker-tmp-dir", "/dev/shm", "bar:app"]


# --- fastroute itself: a wheel whose relay is compiled, then a virtual environment with it and what it needs.
# In the order in which things change: compiler, libraries, the relay (compiling it takes a minute or two), all else.
# The wheel is built without isolation, in an environment of its own: what builds it is fixed by hash too.
FROM pip AS build
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends gcc libc6-dev python3-dev \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
WORKDIR /source
COPY requirements/build.lock requirements/runtime.lock requirements/
RUN python3 -m venv /opt/build \
 && /opt/build/bin/pip install --no-cache-dir --require-hashes --requirement requirements/build.lock \
 && python3 -m venv /opt/fastroute \
 && /opt/fastroute/bin/pip install --no-cache-dir --require-hashes --requirement requirements/runtime.lock
ENV FASTROUTE_COMPILE=1
COPY pyproject.toml setup.py README.md LICENSE ./
COPY src src
COPY router router
RUN /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /tmp .
# What was compiled is still in build/, and is compiled again only where it would not be the same.
COPY . .
RUN /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /opt/fastroute/bin/pip install --no-cache-dir --no-deps --no-index /wheels/*.whl \
 && rm -rf /opt/fastroute/lib/python3*/site-packages/pip /opt/fastroute/lib/python3*/site-packages/pip-* /opt/fastroute/bin/pip*

# --- a worker that announces itself by its router's host name, without a controller (examples/article)
FROM foo AS announced
COPY --from=build /opt/fastroute /opt/fastroute
ENV PATH=/opt/fastroute/bin:$PATH PYTHONDONTWRITEBYTECODE=1
LABEL org.opencontainers.image.title="fastroute demo worker that announces itself" \
      org.opencontainers.image.description="uWSGI and Bottle under fastroute-ctl announce"
ENTRYPOINT ["fastroute-ctl", "announce"]


# --- fastroute-certs: the same wheel, with what speaks ACME
FROM pip AS certs-libraries
COPY requirements/certs.lock /tmp/
RUN python3 -m venv /opt/certs \
 && /opt/certs/bin/pip install --no-cache-dir --require-hashes --requirement /tmp/certs.lock

FROM certs-libraries AS certs-build
COPY --from=build /wheels /wheels
RUN /opt/certs/bin/pip install --no-cache-dir --no-deps --no-index /wheels/*.whl \
 && rm -rf /opt/certs/lib/python3*/site-packages/pip /opt/certs/lib/python3*/site-packages/pip-* /opt/certs/bin/pip*

# The CA's own HTTPS is checked by Debian's list of certificates.
FROM python AS certs
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
COPY --from=certs-build /opt/certs /opt/certs
ENV PATH=/opt/certs/bin:$PATH
RUN install -d -o root -g 10001 -m 0710 /var/lib/fastroute \
 && install -d -o 10003 -g 10001 -m 2750 /var/lib/fastroute/certificates
LABEL org.opencontainers.image.title="fastroute certs" \
      org.opencontainers.image.description="fastroute-certs: certificates by ACME" \
      org.opencontainers.image.documentation="docs/https.md" \
      org.opencontainers.image.licenses="MIT"
USER 10003:10001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=5s --start-period=15s CMD ["fastroute-ctl", "healthcheck"]
ENTRYPOINT ["fastroute-certs"]


FROM python AS fastroute
# The user of fastroute-page, and what may be read of router and controller: they make sockets there, page (the group)
# connects to them.
RUN useradd --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin --uid 10004 --gid 10001 page \
 && install -d -o 10001 -g 10001 -m 0750 /run/fastroute/status
COPY --from=build /opt/fastroute /opt/fastroute
RUN install -d -o root -g 10001 -m 2750 /run/fastroute/docker
ENV PATH=/opt/fastroute/bin:$PATH
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="fastroute" \
      org.opencontainers.image.description="fastroute-router, fastroute-controller, fastroute-page and fastroute-ctl" \
      org.opencontainers.image.documentation="docs/stack.md" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.licenses="MIT"
USER 10001:10001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=5s --start-period=15s CMD ["fastroute-ctl", "healthcheck"]
ENTRYPOINT ["fastroute-router"]
