"""Kijko in process: skills and their runs without HTTP, with the same rules and the same isolation.

>>> import kijko
>>> with kijko.embedded("./kijko-data") as client:
...     org = client.organization("Oracle", operator="oracle-cortex", reason="nightly review")
...     skill = org.skills.create(name="Summary", prompt_template="Summarise in one line: {{text}}")
...     run = org.skills.execute(skill.id, {"text": "Kijko keeps tenants apart."})
...     print(org.executions.wait(run.id, timeout=30).output)
"""

from kijko._calls import UNSET
from kijko._kijko import __version__
from kijko.client import (
    AsyncClient,
    AsyncOrganization,
    AsyncWorker,
    Client,
    Organization,
    Worker,
    connect,
    embedded,
)
from kijko.errors import (
    ClientUnusable,
    ConfigurationError,
    Conflict,
    Forbidden,
    InternalError,
    InvalidInput,
    KijkoError,
    LimitReached,
    NotFound,
    RateLimited,
    StartError,
    Unauthenticated,
    Unavailable,
    UpstreamError,
)
from kijko.executions import AsyncExecutions, Executions
from kijko.models import ModelFailure, Part, Provider, Question, Usage
from kijko.skills import AsyncSkills, Skills
from kijko.types import (
    Accepted,
    Execution,
    ExecutionStatus,
    ExecutionType,
    InputField,
    InputFieldType,
    OutputFormat,
    Parameters,
    Skill,
    SkillCategory,
    SkillSort,
    SkillStats,
    SkillVersion,
    StatsDay,
    StatsPeriod,
    TestRun,
)

__all__ = [
    "UNSET",
    "Accepted",
    "AsyncClient",
    "AsyncExecutions",
    "AsyncOrganization",
    "AsyncSkills",
    "AsyncWorker",
    "Client",
    "ClientUnusable",
    "ConfigurationError",
    "Conflict",
    "Execution",
    "ExecutionStatus",
    "ExecutionType",
    "Executions",
    "Forbidden",
    "InputField",
    "InputFieldType",
    "InternalError",
    "InvalidInput",
    "KijkoError",
    "LimitReached",
    "ModelFailure",
    "NotFound",
    "Organization",
    "OutputFormat",
    "Parameters",
    "Part",
    "Provider",
    "Question",
    "RateLimited",
    "Skill",
    "SkillCategory",
    "SkillSort",
    "SkillStats",
    "SkillVersion",
    "Skills",
    "StartError",
    "StatsDay",
    "StatsPeriod",
    "TestRun",
    "Unauthenticated",
    "Unavailable",
    "UpstreamError",
    "Usage",
    "Worker",
    "__version__",
    "connect",
    "embedded",
]
