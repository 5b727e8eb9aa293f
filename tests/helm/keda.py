"""The shapes of KEDA's objects, as its documentation (2.17) describes them.

KEDA's own definitions are in no package; these refuse a member that it does not have,
which is what a misspelt chart gets wrong.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]


def closed(required: str = "", **members: Schema) -> Schema:
    """Return an object with no members but these."""
    return {
        "type": "object",
        "properties": members,
        "required": required.split(),
        "additionalProperties": False,
    }


TEXT: Schema = {"type": "string", "minLength": 1}
COUNT: Schema = {"type": "integer", "minimum": 0}
METADATA = closed(
    "name",
    name=TEXT,
    labels={"type": "object", "additionalProperties": TEXT},
    annotations={"type": "object", "additionalProperties": TEXT},
)

_POLICY = closed(
    "type value periodSeconds",
    type={"enum": ["Pods", "Percent"]},
    value={"type": "integer", "minimum": 1},
    periodSeconds={"type": "integer", "minimum": 1, "maximum": 1800},
)
_RULES = closed(
    stabilizationWindowSeconds={"type": "integer", "minimum": 0, "maximum": 3600},
    selectPolicy={"enum": ["Max", "Min", "Disabled"]},
    policies={"type": "array", "items": _POLICY},
)

POSTGRESQL = closed(
    "query targetQueryValue",
    query=TEXT,
    targetQueryValue={"type": "string", "pattern": r"^[0-9.]+$"},
    activationTargetQueryValue={"type": "string", "pattern": r"^[0-9.]+$"},
)
"""https://keda.sh/docs/2.17/scalers/postgresql/; the connection comes by reference."""

SCALED_OBJECT = closed(
    "apiVersion kind metadata spec",
    apiVersion={"const": "keda.sh/v1alpha1"},
    kind={"const": "ScaledObject"},
    metadata=METADATA,
    spec=closed(
        "scaleTargetRef triggers",
        scaleTargetRef=closed("name", name=TEXT, kind=TEXT, apiVersion=TEXT),
        pollingInterval=COUNT,
        cooldownPeriod=COUNT,
        initialCooldownPeriod=COUNT,
        idleReplicaCount=COUNT,
        minReplicaCount=COUNT,
        maxReplicaCount={"type": "integer", "minimum": 1},
        fallback=closed(
            "failureThreshold replicas",
            failureThreshold=COUNT,
            replicas=COUNT,
            behavior={
                "enum": [
                    "static",
                    "currentReplicas",
                    "currentReplicasIfHigher",
                    "currentReplicasIfLower",
                ]
            },
        ),
        advanced=closed(
            restoreToOriginalReplicaCount={"type": "boolean"},
            horizontalPodAutoscalerConfig=closed(
                name=TEXT, behavior=closed(scaleDown=_RULES, scaleUp=_RULES)
            ),
        ),
        triggers={
            "type": "array",
            "minItems": 1,
            "items": closed(
                "type metadata authenticationRef",
                type={"const": "postgresql"},
                name=TEXT,
                metadata=POSTGRESQL,
                authenticationRef=closed(
                    "name",
                    name=TEXT,
                    kind={"enum": ["TriggerAuthentication"]},
                ),
            ),
        },
    ),
)
"""https://keda.sh/docs/2.17/reference/scaledobject-spec/"""

TRIGGER_AUTHENTICATION = closed(
    "apiVersion kind metadata spec",
    apiVersion={"const": "keda.sh/v1alpha1"},
    kind={"const": "TriggerAuthentication"},
    metadata=METADATA,
    spec=closed(
        "secretTargetRef",
        secretTargetRef={
            "type": "array",
            "minItems": 1,
            "items": closed("parameter name key", parameter=TEXT, name=TEXT, key=TEXT),
        },
    ),
)
"""https://keda.sh/docs/2.17/concepts/authentication/"""

SCHEMAS = {
    "ScaledObject": SCALED_OBJECT,
    "TriggerAuthentication": TRIGGER_AUTHENTICATION,
}
