"""The shop: python -m heliograph.app.demo --endpoint http://127.0.0.1:4317 --logs FOLDER

    customer -> frontend -> checkout -> payment

Each service is a process of its own. One order in twenty is declined, one in fifty breaks the payment service.
"""

import argparse
import json
import multiprocessing
import random
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from heliograph.app.demo.database import Database
from heliograph.app.demo.service import Failed, Handler, Service
from heliograph.app.demo.topic import Topic

PRODUCTS = ("telescope", "mirror", "tripod", "signal lamp", "code book")
Routes = Callable[[Service, dict[str, int]], dict[str, Handler]]


def payment(service: Service, ports: dict[str, int]) -> dict[str, Handler]:
    """Charges a card, and keeps that in its database."""
    database = Database(service.tracer, "payment", ["CREATE TABLE charge (buyer_order TEXT, amount REAL)"])

    def charge(body: dict[str, Any]) -> dict[str, Any]:
        with service.tracer.start_as_current_span("charge card") as span:
            span.set_attribute("shop.amount", body["amount"])
            time.sleep(random.uniform(0.001, 0.02))
            chance = random.random()
            if chance < 0.02:
                raise Failed(500, "connection to the bank was reset")
            if chance < 0.07:
                raise Failed(402, "card declined")
        database.execute("charge", "INSERT INTO charge VALUES (?, ?)", (body["order"], body["amount"]))
        service.log.info("charged %.2f for order %s", body["amount"], body["order"])
        return {"charged": body["amount"]}

    return {"/charge": charge}


def checkout(service: Service, ports: dict[str, int]) -> dict[str, Handler]:
    """Prices an order, has it paid, and then packed by whoever listens to the topic."""

    def pack(message: dict[str, Any]) -> None:
        time.sleep(random.uniform(0.001, 0.01))
        service.log.info("order %s packed", message["order"])

    packing = Topic(service.tracer, "packing", pack)

    def order(body: dict[str, Any]) -> dict[str, Any]:
        amount = round(sum(19.99 * item["count"] for item in body["items"]), 2)
        service.call(ports["payment"], "/charge", {"order": body["order"], "amount": amount})
        packing.send({"order": body["order"]})
        service.log.info("order %s placed: %s", body["order"], json.dumps(body["items"]))
        return {"order": body["order"], "amount": amount}

    return {"/order": order}


def frontend(service: Service, ports: dict[str, int]) -> dict[str, Handler]:
    """Takes orders from customers."""

    def buy(body: dict[str, Any]) -> dict[str, Any]:
        try:
            answer = service.call(ports["checkout"], "/order", body)
        except Failed:
            service.orders.add(1, {"outcome": "failed"})
            raise
        service.orders.add(1, {"outcome": "placed"})
        return answer

    return {"/buy": buy}


SERVICES: tuple[tuple[str, Routes], ...] = (("payment", payment), ("checkout", checkout), ("frontend", frontend))


def run_service(name: str, endpoint: str, pods: Path, ports: dict[str, int], parent: Connection) -> None:
    """A service's process: tells its port, then serves until SIGTERM. The frontend has a customer beside it."""
    service = Service(name, endpoint, pods)
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    port = service.serve(dict(SERVICES)[name](service, ports))
    parent.send(port)
    threading.Thread(target=service.run, daemon=True).start()
    if name == "frontend":
        _shop(service, port, stopped)
    stopped.wait()
    service.stop()


def _shop(service: Service, port: int, stopped: threading.Event) -> None:
    number = 0
    while not stopped.wait(random.expovariate(4)):
        number += 1
        items = [
            {"product": random.choice(PRODUCTS), "count": random.randint(1, 3)} for _ in range(random.randint(1, 3))
        ]
        try:
            service.call(port, "/buy", {"order": f"{int(time.time())}-{number}", "items": items})
        except Failed as error:
            service.log.warning("a customer is unhappy: %s", error)


def main() -> None:
    """Start the services back to front and run until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m heliograph.app.demo", description="a small instrumented shop")
    parser.add_argument("--endpoint", default="http://127.0.0.1:4317", help="OTLP/gRPC")
    parser.add_argument("--logs", type=Path, required=True, help="folder for container logs, as /var/log/pods")
    arguments = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    ports: dict[str, int] = {}
    processes = []
    for name, _ in SERVICES:
        mine, theirs = spawn.Pipe()
        process = spawn.Process(
            target=run_service, args=(name, arguments.endpoint, arguments.logs, dict(ports), theirs), daemon=True
        )
        process.start()
        ports[name] = mine.recv()
        processes.append(process)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    while not stopped.wait(1.0) and all(process.is_alive() for process in processes):
        pass
    for process in reversed(processes):
        process.terminate()
    for process in processes:
        process.join(15)
