# fastroute: stand it up, test it, check it. Each target is one script under scripts/; `make` alone lists them.
#
#   make up                    MODE=router (default) or MODE=nginx; FASTROUTE_HTTP_PORT=8080, FASTROUTE_HTTPS_PORT=8443, FASTROUTE_PAGE_PORT=8081, FASTROUTE_NETWORK=fastroute
#   make test ARGS="-k foo"    ARGS go to pytest
#   PYTHON=python3.12, VENV=.venv for test and check

.PHONY: help up down test test-compiled check bench bench-control bench-announce bench-nginx bench-queue bench-recreate bench-eject bench-fronts bench-swarm bench-peers deploys rollouts chaos-docker soak chaos fuzz swarm engine-stop
.DEFAULT_GOAL := help

help:
	@echo "make up           build and start the stack (MODE=router), installing and starting Docker where it is missing"
	@echo "make down         remove what make up started: containers, networks, volumes"
	@echo "make test         install what tests need, run all of them, Docker ones included (ARGS=... for pytest)"
	@echo "make test-compiled  the relay's, end-to-end and oracle tests on the compiled build (part of make test without ARGS)"
	@echo "make check        ruff, mypy, import contracts"
	@echo "make bench        our router beside uWSGI's own, a minimal relay in C and none, about 10 minutes (ARGS=--quick: 3)"
	@echo "make bench-control  how soon routes follow Docker's events, and what watching costs (ARGS=\"--real 10 --fake 1000\": less)"
	@echo "make bench-nginx  nginx mode beside router mode: reloads, CPU per request, time to route"
	@echo "make bench-queue  quick requests beside slow ones, with and without max, and beside HAProxy, 7 minutes (ARGS=--quick: 2)"
	@echo "make bench-fronts  nginx before our router by uwsgi and by HTTP, on TCP and unix: CPU per request, 6 minutes"
	@echo "make bench-peers  deploys, accidents, CPU and memory beside Traefik, EasyHAProxy, HAProxy, Envoy and Caddy, 30 minutes (ARGS=\"--only deploys --rounds 1\": less)"
	@echo "make bench-recreate  the only container of a service is recreated, behind our router and behind Caddy"
	@echo "make bench-eject  one of three workers answers 500, behind our router and behind Traefik (ARGS=--containers: containers of a real engine)"
	@echo "make bench-announce  10,000 nodes announced at once, by UDP and unix, with and without the secret"
	@echo "make bench-swarm  100,000 nodes of 100 engines announced to routers, a rolling change, engines that die (ARGS=\"--engines 10\": fewer)"
	@echo "make chaos-docker  deploys and accidents on a real engine that take minutes (ARGS=... for pytest)"
	@echo "make deploys      ROUNDS=10 of docker compose up -d and docker restart of the only container, under load: nothing fails"
	@echo "make rollouts     ROUNDS=10 of fastroute-ctl rollout, 1, 2 and 5 replicas, bad versions, kills, under load: nothing fails"
	@echo "make soak         SECONDS=600 of load through nginx while workers and relays join, leave and are killed"
	@echo "make chaos        SECONDS=600 of kill -9, reloads and upgrades of everything that serves, under 200 requests/s"
	@echo "make fuzz         DATAGRAMS=10000000 forged subscriptions: no crash, no change of what is others', flat memory"
	@echo "make swarm         compose/swarm.yaml on a swarm of four real engines of its own: deploys and accidents under load, 15 minutes (ARGS=... for pytest)"
	@echo "make engine-stop  end the dockerd that make started, if it did"

up:
	@MODE="$(MODE)" scripts/up.sh

down:
	@scripts/down.sh

test:
	@scripts/test.sh $(ARGS)

test-compiled:
	@scripts/test_compiled.sh $(ARGS)

check:
	@scripts/check.sh

bench:
	@scripts/bench.sh $(ARGS)

bench-announce:
	@scripts/bench_announce.sh $(ARGS)

bench-control:
	@scripts/bench_control.sh $(ARGS)

bench-nginx:
	@scripts/bench_nginx.sh $(ARGS)

bench-queue:
	@scripts/bench_queue.sh $(ARGS)

bench-fronts:
	@scripts/bench_fronts.sh $(ARGS)

bench-peers:
	@scripts/bench_peers.sh $(ARGS)

bench-swarm:
	@scripts/bench_swarm.sh $(ARGS)

bench-recreate:
	@scripts/bench_recreate.sh $(ARGS)

bench-eject:
	@scripts/bench_eject.sh $(ARGS)

deploys:
	@ROUNDS="$(ROUNDS)" scripts/deploys.sh $(ARGS)

rollouts:
	@ROUNDS="$(ROUNDS)" scripts/rollouts.sh $(ARGS)

chaos-docker:
	@scripts/chaos_docker.sh $(ARGS)

soak:
	@SOAK_SECONDS="$(SECONDS)" SEED="$(SEED)" scripts/soak.sh

chaos:
	@CHAOS_SECONDS="$(SECONDS)" SEED="$(SEED)" scripts/chaos.sh

fuzz:
	@DATAGRAMS="$(DATAGRAMS)" SEED="$(SEED)" scripts/fuzz.sh

swarm:
	@scripts/swarm.sh $(ARGS)

engine-stop:
	@scripts/engine_stop.sh
