"""The encrypted fields of runs: the client's request, the actor, and the outcome.

A sealed field is in the place of the plain one, even if its type differs: no code between this module and the store
reads it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import orjson

from runstead.runtime.actor_context import ENCRYPTED_CLAIMS, KEPT_CLAIMS, ActorContext
from runstead.runtime.field_encryption import CONTEXT, EncryptionFailed, FieldCipher
from runstead.runtime.json_types import JsonMapping, JsonObject
from runstead.runtime.runs.approvals import UNNAMED, ApprovalAnswer, PendingQuestion, questions_in
from runstead.runtime.runs.interrupts import is_by_interrupt
from runstead.runtime.runs.types import (
    NO_INTERRUPTS,
    Outcome,
    RunCommand,
    RunCompletionData,
    RunFailure,
    RunRecord,
    RunSpec,
    ThreadOutcome,
)
from runstead.runtime.serialization import encode

from .json_fields import is_sealed, seal, seal_bytes, unseal

RUN: Final = "run"
THREAD: Final = "thread"
ANSWER: Final = "interrupts"
"""Field name that handlers see for answers: they are shown where their interrupts are."""
_KEPT: Final = f"{ENCRYPTED_CLAIMS}_kept"
"""Marks the claims that are kept after a run has ended."""
_OWN_FAILURE: Final = EncryptionFailed.__name__
"""A failure of this name has our own text, which says that encryption was impossible."""


async def seal_spec(cipher: FieldCipher, spec: RunSpec) -> RunSpec:
    sealed = await asyncio.gather(
        seal(cipher, RUN, "input", spec.input),
        seal(cipher, RUN, "config", spec.config),
        seal(cipher, RUN, "context", spec.context),
        seal(cipher, RUN, "metadata", spec.metadata),
        seal(cipher, RUN, "command", _command_json(spec.command)),
        seal(cipher, THREAD, "config", spec.thread_config),
    )
    input_, config, context, metadata, command, thread_config = sealed
    if is_sealed(command):
        answer = await _seal_answers(cipher, spec)
        spec = replace(spec, command=RunCommand(resume=command, has_resume=True), approval=answer)
    return replace(spec, input=input_, config=config, context=context, metadata=metadata, thread_config=thread_config)


async def _seal_answers(cipher: FieldCipher, spec: RunSpec) -> ApprovalAnswer:
    """Return the answers of a run to interrupts, which stay findable by the ids of these."""
    command, given = spec.command, spec.approval or ApprovalAnswer()
    if command is None or not command.has_resume:
        return given.with_sealed({}, None)
    named = command.resume if is_by_interrupt(command.resume, ()) else {UNNAMED: command.resume}
    values = await asyncio.gather(*(seal(cipher, THREAD, ANSWER, one) for one in named.values()))
    comment = await seal(cipher, THREAD, ANSWER, given.comment)
    return given.with_sealed(dict(zip(named, values, strict=True)), comment)


async def seal_questions(cipher: FieldCipher, after: ThreadOutcome) -> tuple[PendingQuestion, ...] | None:
    """Return the questions of a thread with their content encrypted; None if handlers encrypt nothing."""
    if not cipher.encrypts_json or after.interrupts == NO_INTERRUPTS:
        return None
    return tuple(await asyncio.gather(*(_seal_question(cipher, one) for one in questions_in(after.interrupts))))


async def _seal_question(cipher: FieldCipher, question: PendingQuestion) -> PendingQuestion:
    content, default = await asyncio.gather(
        seal(cipher, THREAD, "interrupts", question.content), seal(cipher, THREAD, ANSWER, question.rules.default)
    )
    return replace(question, content=content, rules=replace(question.rules, default=default))


async def unseal_spec(cipher: FieldCipher, spec: RunSpec) -> RunSpec:
    command = spec.command.resume if spec.command is not None and is_sealed(spec.command.resume) else None
    if not any(map(is_sealed, (spec.input, spec.config, spec.context, spec.metadata, command))):
        return spec
    found = await asyncio.gather(
        unseal(cipher, RUN, "input", spec.input),
        unseal(cipher, RUN, "config", spec.config),
        unseal(cipher, RUN, "context", spec.context),
        unseal(cipher, RUN, "metadata", spec.metadata),
        unseal(cipher, RUN, "command", command),
    )
    input_, config, context, metadata, plain = found
    if plain is not None:
        spec = replace(spec, command=_command_of(plain))
    return replace(spec, input=input_, config=config, context=context, metadata=metadata)


async def seal_actor(cipher: FieldCipher, actor: ActorContext) -> ActorContext:
    claims = actor.as_stored().claims
    if not claims or not cipher.encrypts_json:
        return actor
    kept = {name: value for name, value in claims.items() if name in KEPT_CLAIMS}
    others = {name: value for name, value in claims.items() if name not in KEPT_CLAIMS}
    parts = {ENCRYPTED_CLAIMS: others, _KEPT: kept}
    sealed = await seal(cipher, RUN, "configurable", {name: part for name, part in parts.items() if part})
    return replace(actor, claims=sealed, unstored=frozenset())


async def unseal_actor(cipher: FieldCipher, actor: ActorContext) -> ActorContext:
    if CONTEXT not in actor.claims:
        return actor
    found = await unseal(cipher, RUN, "configurable", actor.claims)
    return replace(actor, claims={**found.get(ENCRYPTED_CLAIMS, {}), **found.get(_KEPT, {})})


async def seal_failure(cipher: FieldCipher, model: str, failure: RunFailure | None) -> RunFailure | None:
    if failure is None or failure.error == _OWN_FAILURE:
        return failure
    return RunFailure.from_json(await seal(cipher, model, "error", failure.to_json()))


async def unseal_failure(cipher: FieldCipher, model: str, failure: RunFailure | None) -> RunFailure | None:
    if failure is None or CONTEXT not in failure.facts:
        return failure
    return RunFailure.from_json(await unseal(cipher, model, "error", failure.to_json()))


async def unseal_record(cipher: FieldCipher, record: RunRecord) -> RunRecord:
    """Return the record decrypted. Raises EncryptionFailed."""
    spec, actor, failure, completion = await asyncio.gather(
        unseal_spec(cipher, record.spec),
        unseal_actor(cipher, record.actor),
        unseal_failure(cipher, RUN, record.failure),
        _unseal_completion(cipher, record.completion),
    )
    return replace(record, spec=spec, actor=actor, failure=failure, completion=completion)


def without_content(record: RunRecord) -> RunRecord:
    """Return the record without its undecryptable content: its identity and its status remain."""
    spec = replace(record.spec, input=None, command=None, config={}, context=None, metadata={})
    actor = replace(record.actor, claims={}) if CONTEXT in record.actor.claims else record.actor
    return replace(record, spec=spec, actor=actor, failure=None, completion=None)


async def seal_outcome(cipher: FieldCipher, outcome: Outcome, *, title: str | None, with_output: bool) -> Outcome:
    """Return the outcome encrypted. ``title`` is the thread's new title; None for no change.

    Without ``with_output`` the output is dropped, since nothing needs it.
    """
    after = outcome.thread
    values, interrupts, error, failure, completion, described, output = await asyncio.gather(
        seal_bytes(cipher, THREAD, "values", after.values),
        seal_bytes(cipher, THREAD, "interrupts", after.interrupts),
        seal_failure(cipher, THREAD, after.error),
        seal_failure(cipher, RUN, outcome.failure),
        _seal_completion(cipher, outcome.completion),
        seal(cipher, THREAD, "metadata", {} if title is None else {"title": title}),
        seal_bytes(cipher, THREAD, "values", outcome.output if with_output else None),
    )
    thread = replace(
        after,
        values=values,
        interrupts=interrupts or NO_INTERRUPTS,
        error=error,
        described=described,
        questions=await seal_questions(cipher, after),
    )
    return replace(outcome, thread=thread, failure=failure, completion=completion, title=None, output=output)


async def unseal_end_of_run(cipher: FieldCipher, body: bytes) -> bytes:
    """Return the body of a webhook, made from sealed records, decrypted for its receiver."""
    if CONTEXT.encode() not in body:
        return body
    document: JsonObject = orjson.loads(body)
    kwargs = document.get("kwargs")
    fields = {} if kwargs is None else {name: kwargs.get(name) for name in ("input", "config", "context")}
    command = (kwargs or {}).get("command") or {}
    metadata, values, failure, completion, resumed, *found = await asyncio.gather(
        unseal(cipher, RUN, "metadata", document.get("metadata")),
        unseal(cipher, THREAD, "values", document.get("values")),
        unseal(cipher, RUN, "error", document.get("failure")),
        _unseal_texts(cipher, document.get("completion")),
        unseal(cipher, RUN, "command", command.get("resume")),
        *(unseal(cipher, RUN, name, value) for name, value in fields.items()),
    )
    document |= {"metadata": metadata, "values": values, "failure": failure, "error": failure, "completion": completion}
    if kwargs is not None:
        kwargs |= dict(zip(fields, found, strict=True))
        if is_sealed(command.get("resume")):
            kwargs["command"] = {name: one for name, one in resumed.items() if name != "has_resume"}
    return encode(document)


_TEXTS: Final = ("last_ai_message", "first_human_message")


async def _seal_completion(cipher: FieldCipher, completion: RunCompletionData) -> RunCompletionData:
    texts = {name: text for name in _TEXTS if (text := getattr(completion, name)) is not None}
    if not texts or not cipher.encrypts_json:
        return completion
    sealed = await seal(cipher, RUN, "completion", texts)
    return replace(completion, last_ai_message=sealed, first_human_message=None)


async def _unseal_completion(cipher: FieldCipher, completion: RunCompletionData | None) -> RunCompletionData | None:
    if completion is None or not is_sealed(completion.last_ai_message):
        return completion
    texts = await unseal(cipher, RUN, "completion", completion.last_ai_message)
    return replace(completion, **{name: texts.get(name) for name in _TEXTS})


async def _unseal_texts(cipher: FieldCipher, completion: object) -> Any:
    if not isinstance(completion, Mapping) or not is_sealed(completion.get("last_ai_message")):
        return completion
    texts = await unseal(cipher, RUN, "completion", completion["last_ai_message"])
    return {**completion, **{name: texts.get(name) for name in _TEXTS}}


def _command_json(command: RunCommand | None) -> JsonObject | None:
    if command is None:
        return None
    resume = {"resume": command.resume} if command.has_resume else {}
    return {**resume, "update": command.update, "goto": list(command.goto)}


def _command_of(plain: JsonMapping) -> RunCommand:
    return RunCommand(plain.get("resume"), "resume" in plain, plain.get("update"), tuple(plain.get("goto") or ()))
