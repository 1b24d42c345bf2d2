"""Exporter elasticsearch: OTel-native documents into Elasticsearch data streams.

    delivery -> sender -> encoding -> logs | spans | metrics (bytes in, documents out)
                       -> bulk (which documents go together) -> client (HTTP) -> bulk (what the answer says)
                       -> dead_letters (what will never be taken)

Upstream: exporter/elasticsearchexporter 0.156, mapping mode otel. Where it loses data this one does not: see
docs/adr/0004-elasticsearch-exporter.md.
"""

from heliograph.component.factory import Factory, Settings
from heliograph.component.ids import Kind
from heliograph.component.lifecycle import Component
from heliograph.delivery.delivery import Delivery
from heliograph.exporters.elasticsearch.config import ElasticsearchConfig
from heliograph.exporters.elasticsearch.sender import ElasticsearchSender


def _create(settings: Settings, config: ElasticsearchConfig) -> Component:
    sender = ElasticsearchSender(settings, config)
    return Delivery(settings, sender, queue=config.queue(), retry=config.pauses(), timeout=0.0, endpoint=sender.label)


FACTORY = Factory(kind=Kind.EXPORTER, type="elasticsearch", config=ElasticsearchConfig, create=_create)
