"""Each mistake that would cost money, made once on purpose: the suite must turn red. `make test-mutations`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support import ROOT

pytestmark = pytest.mark.mutation


class Mutation(NamedTuple):
    """A mistake: in which file, which text becomes which, and the tests that must notice."""

    mistake: str
    file: str
    old: str
    new: str
    tests: str


MUTATIONS = [
    Mutation(
        "retry the POST on a time-out or a lost connection",
        "fal/http/answers.py",
        "return isinstance(error.__cause__, _NOT_SENT) or isinstance(",
        "return isinstance(error, httpx.TimeoutException | httpx.ConnectError) or isinstance(",
        "tests/fal/http/test_client.py",
    ),
    Mutation(
        "take every 5xx on a submit for a rejection",
        "fal/http/answers.py",
        "if code not in REJECTIONS or",
        "if code not in REJECTIONS | set(range(500, 600)) or",
        "tests/fal/http/test_client.py",
    ),
    Mutation(
        "record before the image",
        "store/images/image_files.py",
        '        store.write(f"{folder}/{found.path}", content)\n',
        "        import threading\n"
        '        threading.Timer(1.0, store.write, (f"{folder}/{found.path}", content)).start()\n',
        "tests/cli/test_generate_command.py -k each_point",
    ),
    Mutation(
        "create the intent without exclusivity",
        "store/local_files.py",
        "        _put_in(part, path, data)\n    finally:\n        part.unlink(missing_ok=True)\n",
        "        part.replace(path)\n    finally:\n        pass\n",
        "tests/store/test_root.py",
    ),
    Mutation(
        "take a create's time-out as won",
        "store/receipts/receipts.py",
        "            return self._has_nonce(key, attempt, intent.nonce, error)\n",
        "            return isinstance(error, StoreError) or self._has_nonce(key, attempt, intent.nonce, error)\n",
        "tests/store/receipts/test_receipts.py",
    ),
    Mutation(
        "take an unreadable fact for an absent one",
        "store/receipts/receipts.py",
        "            attempt.unreadable.append(str(error))\n",
        "            del error\n",
        "tests/store/receipts/test_receipts.py",
    ),
    Mutation(
        "read a gateway's 503 as the result",
        "fal/http/answers.py",
        'or reply.headers.get("x-fal-error-type") or _untyped(reply, detail)\n',
        'or reply.headers.get("x-fal-error-type") or "server_error"\n',
        "tests/fal/http/test_client.py",
    ),
    Mutation(
        "read a cancel's 202 as cancelled",
        "fal/http/client.py",
        "if reply.status_code != httpx.codes.OK or not reply.is_whole:",
        "if not reply.is_whole:",
        "tests/fal/http/test_client.py",
    ),
    Mutation(
        "name images by key alone",
        "engine/collect/collect.py",
        "image_stem(case.request.key, case.submitted.request_id, index)",
        'f"{case.request.key}-{index}"',
        "tests/simulation/test_doubts.py",
    ),
    Mutation(
        "adopt one id for two equal keys",
        "engine/recover/history_evidence.py",
        "known = await self._known(request, {candidate.request_id for candidate in found}) if found else set()",
        "known = set(attempt.accepted)",
        "tests/simulation/test_doubts.py",
    ),
    Mutation(
        "send before the intent is on record",
        "fal/http/client.py",
        "            try:\n                await ready()\n",
        "            yield body\n            try:\n                await ready()\n",
        "tests/fal/http/test_client.py",
    ),
    Mutation(
        "send an attempt again that has only its intent",
        "engine/purchase_rules.py",
        "    if attempt.void is not None or is_given_up or any(",
        "    if attempt.void is not None or attempt.intent is not None or any(",
        "tests/simulation tests/engine/test_purchase_rules.py",
    ),
    Mutation(
        "take a free failure that was only adopted for a proof",
        "engine/purchase_rules.py",
        'any(how != "history" for how in counted)',
        "bool(counted)",
        "tests/engine/test_purchase_rules.py",
    ),
    Mutation(
        "do not look for what was given up",
        "engine/purchase_rules.py",
        '    if attempt.void is not None and attempt.void.reason in {"not_sent", "rejected"}:\n',
        "    if attempt.void is not None:\n",
        "tests/simulation/test_doubts.py tests/engine/test_purchase_rules.py",
    ),
    Mutation(
        "spend a budget without reserving",
        "engine/submit/budget.py",
        "            self.reserved += price.high\n",
        "            self.reserved += price.low\n",
        "tests/engine/submit/test_budget.py",
    ),
    Mutation(
        "link a file in before its bytes are synced",
        "store/local_files.py",
        "            file.flush()\n            os.fsync(file.fileno())\n",
        "            file.flush()\n",
        "tests/simulation/test_crash_states.py -k power_cut",
    ),
    Mutation(
        "send while the intent's name is not synced",
        "store/local_files.py",
        "        part.unlink(missing_ok=True)\n    _sync(path.parent)\n",
        "        part.unlink(missing_ok=True)\n",
        "tests/simulation/test_crash_states.py -k power_cut",
    ),
    Mutation(
        "record an image whose name is not synced",
        "store/local_files.py",
        "    if is_durable:\n        _sync(path.parent)\n",
        "",
        "tests/simulation/test_crash_states.py -k power_cut",
    ),
    Mutation(
        "take a folder that another run has made for durable",
        "store/local_files.py",
        "            if folder not in self._durable:\n",
        "            if False:\n",
        "tests/simulation/test_crash_states.py -k power_cut",
    ),
    Mutation(
        "adopt an id that only an outcome tells",
        "engine/recover/history_evidence.py",
        "for _, name in names if name.request_id)",
        "for _, name in names if name.how)",
        "tests/simulation/test_crash_states.py -k outcome",
    ),
    Mutation(
        "resubmit on a history that shows nothing of what we know",
        "engine/recover/history_evidence.py",
        "        if not control or unseen:\n",
        "        if unseen:\n",
        "tests/simulation/test_doubts.py",
    ),
    Mutation(
        "take one reading of an error for an end",
        "engine/collect/result_reads.py",
        '        needed = REFUSAL_APART if failure.kind == "refused" else needed\n',
        "        needed = 0.0\n",
        "tests/engine/collect/test_result_reads.py",
    ),
    Mutation(
        "take one line of the history for an end",
        "engine/collect/result_reads.py",
        "        needed = WORDS_APART if self.is_young else REFUSAL_APART\n",
        "        needed = 0.0\n",
        "tests/engine/collect/test_result_reads.py",
    ),
    Mutation(
        "take an error of the result for an end of what was never completed",
        "engine/collect/result_reads.py",
        "        if not self.is_completed:\n",
        "        if False:\n",
        "tests/engine/collect/test_result_reads.py",
    ),
    Mutation(
        "let an error of the result win over the images of the history",
        "engine/collect/collect.py",
        "            found = self._images_in(item) or found  # images",
        "            found = found or self._images_in(item)  # images",
        "tests/bender/test_ends.py -k typed_error",
    ),
    Mutation(
        "let nothing follow an outcome, not even an image",
        "store/receipts/facts.py",
        '        if self.kind == "stored":\n            return True\n',
        '        if self.kind == "stored":\n            return False\n',
        "tests/store/test_frozen_mistakes.py tests/simulation/test_words.py",
    ),
    Mutation(
        "have the user's word speak of what was opened since",
        "engine/request_progress.py",
        "        return self.buys and view.attempt < self.again_applies_to and is_named\n",
        "        return self.buys and is_named\n",
        "tests/bender/test_ends.py -k once_in_a_run",
    ),
    Mutation(
        "take the same word of several runs for several words",
        "engine/recover/open_receipts.py",
        "            if opened_by is not None and (opened_by.id == word.id or opened_by.run in self.runs):\n",
        "            if False:\n",
        "tests/simulation/test_words.py",
    ),
    Mutation(
        "look into the history by this machine's wall clock",
        "engine/recover/history_search.py",
        "    at = intent.created_at + timedelta(seconds=intent.clock_offset_s or 0.0)\n",
        "    at = intent.created_at\n",
        "tests/simulation/test_words.py",
    ),
    Mutation(
        "wait for doubts by the wall clock",
        "engine/recover/ambiguous_submits.py",
        "        until, looks = (progress.seen_at if whole else now - age) + settle, 0\n",
        "        age = max((self._clock.now() - intent.created_at).total_seconds(), 0.0)\n"
        "        until, looks = now - age + settle, 0\n",
        "tests/simulation/test_words.py",
    ),
    Mutation(
        "have a slow reading of the history stand for minutes",
        "engine/recover/history_search.py",
        "min(max(FRESH, 5 * took), LONGEST_FRESH)",
        "max(FRESH, 5 * took)",
        "tests/bender/test_ends.py -k answers_slowly",
    ),
    Mutation(
        "send on and on while replies to submits are lost",
        "engine/worker.py",
        "            self._stop.left_in_doubt(error)\n",
        "            pass\n",
        "tests/bender/test_blips.py -k submits",
    ),
    Mutation(
        "have one row's error end the run",
        "engine/feeder.py",
        "        except Exception as error:  # noqa: BLE001 - any error concerns this row only\n",
        "        except GptImgError as error:\n",
        "tests/bender/test_ends.py -k nobody_expected",
    ),
    Mutation(
        "prune what no image table shows although a receipt names it",
        "engine/maintain/prune.py",
        "        if is_shown or not self._left or key in self._takes:\n",
        "        if is_shown or key in self._takes:\n",
        "tests/engine/maintain/test_prune.py -k superfluous",
    ),
    Mutation(
        "prune earlier takes of rows that the image table has",
        "engine/maintain/prune.py",
        "not self._left or key in self._takes:\n",
        "not self._left:\n",
        "tests/engine/test_takes.py -k forget",
    ),
    Mutation(
        "buy another take of which nothing is on record",
        "engine/worker.py",
        "            await self._io(self.open_take, progress.request.key)\n",
        "",
        "tests/simulation/test_takes.py -k two_runs",
    ),
    Mutation(
        "open a take although a request of the newest one has not ended",
        "engine/takes.py",
        "    if None in one.takes[-1]:\n",
        "    if False:\n",
        "tests/simulation/test_takes.py -k request_has_not",
    ),
    Mutation(
        "open a take by a word that has opened one",
        "engine/takes.py",
        "take.word.id == word.id for take",
        "False for take",
        "tests/simulation/test_takes.py -k same_word",
    ),
    Mutation(
        "prune without putting the deletion on record",
        "engine/maintain/prune.py",
        "            dataset.receipts.create_deleted(request.key, request.attempt, fact)\n",
        "            del fact\n",
        "tests/engine/maintain/test_prune.py -k left",
    ),
    Mutation(
        "believe a receipt that names another file",
        "store/receipts/receipts.py",
        "        if told is None or (told.key, told.request_id) != (name.key, name.request_id):\n",
        "        if False:\n",
        "tests/engine/maintain/test_prune.py -k another_file",
    ),
    Mutation(
        "take an image table's addresses as they were written",
        "store/manifest.py",
        "    return _placed(table, dataset)\n",
        "    return table\n",
        "tests/e2e/test_moved_stores.py -k moved",
    ),
    Mutation(
        "buy what is missing without the user's word",
        "engine/worker.py",
        '        if view.state == "done" or (needs_again and not progress.is_meant(view, self._job.options.again)):\n',
        '        if view.state == "done" or (needs_again and view.state != "missing"):\n',
        "tests/engine/collect/test_missing_images.py -k trouble",
    ),
    Mutation(
        "a limited run replaces the whole image table",
        "engine/record/image_table.py",
        "            self._parts = self._parts if job.options.is_limited else self._others()\n",
        "            self._parts = []\n",
        "tests/e2e/test_image_table.py -k first_rows",
    ),
    Mutation(
        "guard against another recipe only",
        "engine/rebuy_guard.py",
        "        if not any(True for _ in receipts.to_buy(planned)):\n",
        "        if not is_other_recipe:\n",
        "tests/engine/test_rebuy_guard.py -k form",
    ),
    Mutation(
        "count the requests of the last attempt only",
        "engine/maintain/costs.py",
        "    for n, attempt in enumerate(attempts):\n",
        "    for n, attempt in [*enumerate(attempts)][-1:]:\n",
        "tests/engine/maintain/test_costs.py -k became",
    ),
    Mutation(
        "give a dataset that does not say its model the default of today",
        "engine/plan/model_choice.py",
        "return Choice(get_model(MODEL_BEFORE), THE_DATASETS)",
        "return Choice(get_model(DEFAULT_MODEL), THE_DEFAULT)",
        "tests/engine/plan/test_model_choice.py",
    ),
    Mutation(
        "buy with another model than the run that began the dataset a moment ago",
        "engine/prepare.py",
        "if job.options.is_model_chosen:",
        "if False:",
        "tests/engine/plan/test_model_choice.py -k comes_second",
    ),
    Mutation(
        "reserve and keep one image where a generation may give several",
        "fal/registry/price_formulas.py",
        "return Images(count, count * each)",
        "return Images(count, count)",
        "tests/e2e/test_other_makers.py -k may_come",
    ),
    Mutation(
        "buy the same image several times with one seed",
        "fal/registry/model.py",
        "if self.same_by_seed:",
        "if False:",
        "tests/e2e/test_other_makers.py -k seed",
    ),
]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.mistake)
def test_the_suite_notices(mutation: Mutation, tmp_path: Path) -> None:
    copy = tmp_path / "main"
    ignored = shutil.ignore_patterns(".venv", ".git", ".demo", "__pycache__", "node_modules", ".*_cache")
    shutil.copytree(ROOT, copy, ignore=ignored)
    path = copy / "dagster_gptimg" / mutation.file
    text = path.read_text(encoding="utf-8")
    assert text.count(mutation.old) == 1, "the code has moved on: find the place again"
    path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:randomly", *mutation.tests.split()]
    env = {**os.environ, "PYTHONPATH": str(copy), "SEEDS": "200", "PYTEST_ADDOPTS": ""}
    done = subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 1, f"nobody noticed: {mutation.mistake}\n{done.stdout[-2000:]}{done.stderr[-1000:]}"
