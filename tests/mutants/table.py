"""The bugs: each is one small change that would break a promise, and the tests that must see it.

`old` stands exactly once in the file.  If a change of the source makes one stale, mend the
entry, do not drop it.
"""

from __future__ import annotations

from typing import NamedTuple

SIMULATION = ("tests/simulation",)
SETTLING = "tests/supervisor/test_settling.py"
DISBELIEF = "tests/supervisor/test_disbelief.py"
TREES = "tests/supervisor/test_trees.py"
BROKEN_HOST = "tests/supervisor/test_broken_host.py"
HANDOVER = "tests/test_handover.py"
SOCKET = "tests/rpc/test_unix_socket.py"
STATEDIR = "tests/journal/test_statedir.py"
STORE = "tests/journal/test_store.py"
RECOVERY = "tests/journal/test_recovery.py"
FAILING_DISK = "tests/journal/test_failing_disk.py"
COMPACTION = "tests/journal/test_compaction.py"
REPAIR = "tests/journal/test_repair.py"
SYNC = "tests/client/test_sync.py"
STARTS = "tests/core/test_starts.py"
PROGRESS = "tests/child/test_progress.py"
STOPPING = "tests/child/test_stopping.py"


class Mutant(NamedTuple):
    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


ANSWER = "        for call, outcome in zip(calls, outcomes, strict=True): _answer(call, outcome)\n"
ACT = "        for effect in [e for d in decisions for e in d.effects]: self.act(effect)\n"

MUTANTS = [
    # The order of decide, record, act.
    Mutant(
        "answer before sync", "src/jobd/daemon.py",
        "        if facts:\n            records = ",
        f"{ANSWER}        if facts:\n            records = ",
        SIMULATION,
    ),
    Mutant(
        "effect before sync", "src/jobd/daemon.py",
        "        if facts:\n            records = ",
        f"{ACT}        if facts:\n            records = ",
        SIMULATION,
    ),
    Mutant(
        "log line before sync", "src/jobd/daemon.py",
        "        if facts:\n            records = ",
        "        self.announce(facts)\n        if facts:\n            records = ",
        SIMULATION,
    ),
    # What a disk forgets.
    Mutant(
        "a commit is not synced", "src/jobd/journal/store.py",
        "        before_s = watch()\n        self._sync()\n",
        "        before_s = watch()\n",
        SIMULATION,
    ),
    Mutant(
        "directory sync left out", "src/jobd/journal/segments.py",
        "            active.sync()\n            files.sync_directory(directory)\n",
        "            active.sync()\n",
        SIMULATION,
    ),
    Mutant(
        "a segment is left unsynced when the next one begins", "src/jobd/journal/store.py",
        "            self._active.sync()\n",
        "            pass\n",
        SIMULATION,
    ),
    Mutant(
        "a torn end is not cut off", "src/jobd/journal/store.py",
        "                self._active.cut(torn.place.offset)\n",
        "                pass\n",
        SIMULATION,
    ),
    Mutant(
        "a batch is several commits", "src/jobd/daemon.py",
        "            await self.journal.append(facts[0].seq, records, self.engine.promised_bytes)",
        "            for f in facts: await self.journal.append(f.seq, [f.record], 1 << 20)",
        SIMULATION,
    ),
    Mutant(
        "commit applied in part", "src/jobd/core/state.py",
        "        self.seq = seq - 1\n        for record in records:",
        "        self.seq = seq - 1\n        for record in records[:1]:",
        SIMULATION,
    ),
    Mutant(
        "a segment is dropped before its jobs are said again", "src/jobd/compaction.py",
        "        for start in range(0, len(ids), KEEP_MAX):",
        "        for start in range(KEEP_MAX, len(ids), KEEP_MAX):",
        SIMULATION,
    ),
    # Attempts.
    Mutant(
        "attempt started before the last one settled", "src/jobd/supervisor/settling.py",
        "            _tell_of_the_dead(waiting, alive, tell)\n",
        "            _tell_of_the_dead(waiting, {}, tell)\n",
        (f"{DISBELIEF}::test_an_attempt_whose_files_are_gone_did_run_if_its_process_lives",),
    ),
    Mutant(
        "two may claim an attempt", "src/jobd/keeper/files.py",
        "_NEW | os.O_EXCL\n",
        "_NEW\n",
        (f"{SETTLING}::test_an_attempt_without_claim_never_ran_and_never_will",),
    ),
    Mutant(
        "wrong boot id accepted", "src/jobd/core/patience.py",
        "if running.killed or running.boot_id != self._boot_id:",
        "if running.killed:",
        ("tests/core/test_replay.py",),
    ),
    Mutant(
        "wrong boot id accepted when settling", "src/jobd/supervisor/settling.py",
        "    elif not orphan.this_boot:\n",
        "    elif False:\n",
        ("tests/simulation/test_settling.py",),
    ),
    Mutant(
        "an attempt number is used twice", "src/jobd/core/lifecycle.py",
        "        case records.NeverRan():\n            job.running = None\n",
        "        case records.NeverRan():\n            job.running = None; job.attempt -= 1\n",
        ("tests/core/test_attempts.py",),
    ),
    Mutant(
        "an outcome is told and not written", "src/jobd/keeper/files.py",
        '    os.rename(part, f"{directory}/{OUTCOME}")\n',
        "",
        (f"{SETTLING}::test_what_ended_while_no_daemon_was_there_is_told_to_the_next",),
    ),
    # Crashes: what was claimed, told, or left running.
    Mutant(
        "a claim is ignored when settling", "src/jobd/supervisor/settling.py",
        "Trace(claim, ran=not _claim(orphan.directory))",
        "Trace(claim, ran=_claim(orphan.directory) and False)",
        (f"{SETTLING}::test_an_outcome_that_is_not_whole_is_none",),
    ),
    Mutant(
        "an earlier boot is taken for this one", "src/jobd/supervisor/supervisor.py",
        "this_boot = job.running.boot_id == self._boot_id",
        "this_boot = True",
        (f"{SETTLING}::test_an_attempt_of_another_boot_may_have_run_although_nothing_is_left_of_it",),
    ),
    Mutant(
        "a pid is enough to know a process", "src/jobd/supervisor/settling.py",
        "        if main is not None and main.started == claim.start_ticks:\n",
        "        if main is not None:\n",
        (f"{SETTLING}::test_a_pid_that_is_somebody_elses_by_now_is_left_alone",),
    ),
    Mutant(
        "only main processes are ended when settling", "src/jobd/supervisor/settling.py",
        "    marker = tree.marker(process.pid)\n    return",
        "    marker = None\n    return",
        (f"{SETTLING}::test_a_keeper_that_dies_is_replaced_and_what_it_had_is_ended_and_interrupted",),
    ),
    Mutant(
        "an attempt has ended while its processes live", "src/jobd/keeper/keeper.py",
        'if (attempt.stray == "kill" or attempt.killed) and self._lives_on',
        "if attempt.killed and self._lives_on",
        (f"{TREES}::test_who_is_left_behind_is_killed_before_the_end_is_told",),
    ),
    Mutant(
        # In the other order, but sent by the loop as ever, it would be no bug.
        "an end is told before it is written", "src/jobd/keeper/keeper.py",
        "        try:\n            files.conclude(directory, outcome)\n",
        '        self._report({"report": "ended", "outcome": outcome, "result": result})\n'
        "        self._send()\n"
        "        try:\n            files.conclude(directory, outcome)\n",
        (f"{SETTLING}::test_no_end_is_told_that_is_not_on_the_disk",),
    ),
    Mutant(
        "the lock goes to whatever is started", "src/jobd/journal/statedir.py",
        'stop that one first") from None\n    return fd\n',
        'stop that one first") from None\n    os.set_inheritable(fd, True)\n    return fd\n',
        (f"{STATEDIR}::test_the_lock_is_not_inherited_by_a_child",),
    ),
    Mutant(
        "the keeper has open what the daemon has", "src/jobd/supervisor/link.py",
        "            pass_fds=(fd,), start_new_session=True,\n",
        "            close_fds=bool(os.set_inheritable(fd, True)), start_new_session=True,\n",
        (f"{SETTLING}::test_neither_keeper_nor_job_has_open_what_the_daemon_has",),
    ),
    Mutant(
        "what was handed over goes to whatever is started", "src/jobd/handover.py",
        "        return False\n    os.set_inheritable(fd, False)\n",
        "        return False\n",
        (f"{HANDOVER}::test_what_was_handed_over_is_taken_up_once_and_inherited_by_nobody",),
    ),
    Mutant(
        "the lock is open while the program is replaced", "src/jobd/journal/statedir.py",
        "        return os.dup(self._lock_fd)\n",
        "        return os.open(self.path / LOCK, os.O_RDWR)\n",
        (f"{STATEDIR}::test_a_lock_that_is_kept_outlives_the_store_and_is_taken_up_again",),
    ),
    Mutant(
        "the socket is gone while the program is replaced", "src/jobd/rpc/unix_socket.py",
        "            self._identity = None  # it stays where it is\n",
        "",
        (f"{SOCKET}::test_who_connects_after_a_listener_that_is_kept_is_served_by_the_next",),
    ),
    # Interruptions, and starts that could not be made.
    Mutant(
        "a start that could not be made costs a retry", "src/jobd/core/lifecycle.py",
        "        case records.NeverRan():\n            job.running = None\n",
        "        case records.NeverRan():\n            job.running = None; job.retries_left -= 1\n",
        (f"{STARTS}::test_want_of_the_host_is_not_the_jobs_failure",),
    ),
    Mutant(
        "a start that could not be made is an interruption", "src/jobd/core/lifecycle.py",
        "        case records.NeverRan():\n            job.running = None\n",
        "        case records.NeverRan():\n            job.running, job.interruptions = None, 1\n",
        (f"{STARTS}::test_want_of_the_host_is_not_the_jobs_failure",),
    ),
    Mutant(
        "want of the host is the job's failure", "src/jobd/keeper/starting.py",
        "    if files.no_room(exc) or",
        "    if False and",
        (f"{SETTLING}::test_want_of_descriptors_is_not_the_jobs_failure",),
    ),
    Mutant(
        "a broken directory is the job's failure", "src/jobd/keeper/starting.py",
        ' or probe(**message["probe"]) is not None:\n',
        ":\n",
        (f"{BROKEN_HOST}::test_a_directory_that_can_not_be_used_fails_no_job",),
    ),
    Mutant(
        "what one job broke holds all of them", "src/jobd/keeper/starting.py",
        ' or probe(**message["probe"]) is not None:\n',
        " or True:\n",
        (f"{BROKEN_HOST}::test_what_is_in_the_way_of_one_attempt_is_its_own_failure",),
    ),
    Mutant(
        "interruptions are not counted", "src/jobd/core/lifecycle.py",
        "            job.interruptions += record.counted\n",
        "",
        ("tests/core/test_attempts.py::test_interruptions_are_counted_and_spend_no_retry",),
    ),
    Mutant(
        "interruptions without end", "src/jobd/core/verdict.py",
        "    if counted and job.interruptions >= rules.max_interruptions:\n",
        "    if False:\n",
        ("tests/core/test_verdict.py::test_interruptions_end_somewhere",),
    ),
    Mutant(
        "after a reboot everything starts at once", "src/jobd/core/engine.py",
        "        if self._last_boot_id != self._boot_id:\n",
        "        if False:\n",
        (f"{STARTS}::test_after_a_reboot_not_everything_starts_at_once_although_nothing_ran",),
    ),
    Mutant(
        "after a lost keeper everything starts at once", "src/jobd/core/engine.py",
        '        if command.ending.kind == "interrupted":\n',
        "        if False:\n",
        (f"{STARTS}::test_after_a_lost_keeper_not_everything_starts_at_once",),
    ),
    # Room, and a disk that fails.
    Mutant(
        "room is not reserved", "src/jobd/journal/store.py",
        "            return self._open.reserve(kept_bytes + size_bytes, leave_bytes=leave_bytes)\n",
        "            return True\n",
        (f"{STORE}::test_on_a_full_disk_what_was_promised_is_there_and_no_more",),
    ),
    Mutant(
        "what runs is promised no room", "src/jobd/core/promises.py",
        " + running * RUNNING_BYTES",
        "",
        (f"{STARTS}::test_what_is_promised_follows_the_jobs_there_are",),
    ),
    Mutant(
        "the next segment begins without what was promised", "src/jobd/journal/store.py",
        "room_bytes = line_bytes + self._promised_bytes + self._passes",
        "room_bytes = 0 * self._passes",
        (f"{STORE}::test_on_a_full_disk_what_was_promised_is_there_and_no_more",),
    ),
    Mutant(
        "the next segment begins without room for its first line", "src/jobd/journal/store.py",
        "room_bytes = line_bytes + self._promised_bytes",
        "room_bytes = self._promised_bytes",
        (f"{STORE}::test_a_new_segment_has_room_for_its_first_line_beside_what_is_promised",),
    ),
    Mutant(
        "room is given twice in one commit", "src/jobd/daemon.py",
        "        self._accepted_bytes = accepted_bytes\n",
        "",
        ("tests/journal/test_room.py::test_within_one_commit_no_room_is_given_twice",),
    ),
    Mutant(
        "an attempt starts without room for its end", "src/jobd/core/engine.py",
        "            if not has_room(START_BYTES + RUNNING_BYTES):\n",
        "            if False:\n",
        (f"{STARTS}::test_an_attempt_without_room_for_its_end_waits_unrecorded",),
    ),
    Mutant(
        "the keeper takes no room for an outcome", "src/jobd/keeper/files.py",
        '    _reserve(f"{directory}/{OUTCOME}{PART}", OUTCOME_BYTES)\n',
        "",
        (f"{SETTLING}::test_while_an_attempt_runs_the_room_for_its_end_is_taken",),
    ),
    Mutant(
        "a torn end takes the room with it", "src/jobd/journal/segments.py",
        "        self.reserve(allocated_bytes - size_bytes)\n",
        "",
        (f"{STORE}::test_a_start_that_cuts_off_a_torn_end_keeps_the_room",),
    ),
    Mutant(
        "a segment that was not sealed keeps its room", "src/jobd/journal/store.py",
        "            before.give_back()\n",
        "",
        (f"{STORE}::test_a_start_gives_back_the_room_of_a_segment_that_was_not_sealed",),
    ),
    Mutant(
        "compaction's room is given to submissions", "src/jobd/journal/compaction.py",
        "min(largest_bytes, round(self._factor * self.live_bytes))",
        "0",
        (f"{STORE}::test_a_part_of_the_room_is_for_compaction_alone",),
    ),
    Mutant(
        "a sync that failed is tried again", "src/jobd/journal/segments.py",
        "        self._files.sync(self._fd)\n\n    def cut",
        "        try: self._files.sync(self._fd)\n"
        "        except OSError: self._files.sync(self._fd)\n\n    def cut",
        (f"{FAILING_DISK}::test_whichever_operation_fails_the_next_start_has_all_that_was_acknowledged",),
    ),
    Mutant(
        "what was read at a start may be in memory alone", "src/jobd/journal/store.py",
        "the last daemon died before its sync.\n            self._active.sync()\n",
        "the last daemon died before its sync.\n",
        (f"{STORE}::test_what_was_read_is_synced_before_anybody_acts_on_it",),
    ),
    Mutant(
        "compaction falls over the daemon's end", "src/jobd/compaction.py",
        "        with contextlib.suppress(Draining):\n",
        "        with contextlib.suppress():\n",
        (f"{COMPACTION}::test_compaction_that_is_under_way_ends_with_the_daemon",),
    ),
    # Damage and repair.
    Mutant(
        "damage is taken for a torn end", "src/jobd/journal/recovery.py",
        "        if hides_commit:\n",
        "        if False:\n",
        (f"{RECOVERY}::test_damage_stops_the_start_and_changes_nothing",),
    ),
    Mutant(
        "a journal of zeros is taken for a torn header", "src/jobd/journal/recovery.py",
        "        if place.line == 1 and size_bytes > HEADER_BYTES_MAX:\n",
        "        if False:\n",
        (f"{RECOVERY}::test_a_journal_of_which_nothing_can_be_read_is_no_torn_header",),
    ),
    Mutant(
        "an empty journal is begun where a repair was not finished", "src/jobd/journal/recovery.py",
        "    if left:\n",
        "    if False:\n",
        (f"{REPAIR}::test_no_daemon_begins_an_empty_journal_where_a_repair_was_not_finished",),
    ),
    Mutant(
        "a repair forgets what may be alive", "src/jobd/journal/repair.py",
        "        claimed = _claimed(directory.parent)\n",
        "        claimed: dict[str, int] = {}\n",
        ("tests/journal/test_tools.py::test_an_attempt_that_may_be_alive_is_left_running",),
    ),
    Mutant(
        "a repair makes up success", "src/jobd/journal/mending.py",
        '        ending = Ending(kind="interrupted", message=LOST_END)\n',
        '        ending = Ending(kind="completed", message=LOST_END)\n',
        ("tests/journal/test_mending.py::test_what_may_have_ended_in_the_hole_was_interrupted",),
    ),
    # Clients.
    Mutant(
        "a submission is repeated under another request_id", "src/jobd/client/sync.py",
        "        params = calls.once(method, params)\n"
        "        patience = Patience(deadline)\n        while True:\n",
        "        given, patience = params, Patience(deadline)\n"
        "        while True:\n            params = calls.once(method, given)\n",
        (f"{SYNC}::test_a_lost_submission_is_made_again_under_the_same_request_id",),
    ),
    # Time and order.
    Mutant(
        "retry without its delay", "src/jobd/core/verdict.py",
        "wait_s = retry.delay_s(job.policy, failures, jitter)",
        "wait_s = 0.0",
        ("tests/core/test_verdict.py",),
    ),
    Mutant(
        "priority upside down", "src/jobd/core/schedule.py",
        "queue.ready.push((-job.policy.priority,",
        "queue.ready.push((job.policy.priority,",
        ("tests/core/test_schedule.py",),
    ),
    Mutant(
        "deadline of a final job fires", "src/jobd/core/state.py",
        "            self._patience.remove(job)\n",
        "            job.place = -1\n",
        # Not the whole file: where the job is stopped first, this bug never ends its tick.
        ("tests/core/test_attempts.py::test_the_deadlines_of_a_job_that_has_ended_are_forgotten",),
    ),
    Mutant(
        "a delayed job starts early after the clock was set back", "src/jobd/core/schedule.py",
        "            if job.run_at <= now:\n                return job\n",
        "            if job is not None:\n                return job\n",
        ("tests/core/test_time.py",),
    ),
    Mutant(
        "a cancel during a timeout is forgotten", "src/jobd/core/lifecycle.py",
        'running.cancelled = running.cancelled or record.why == "cancelled"',
        'running.cancelled = running.stopping == "cancelled"',
        ("tests/core/test_attempts.py",),
    ),
    Mutant(
        "no mercy for jobs that have just ended", "src/jobd/core/graveyard.py",
        "(MERCY_S if crowded else max(MERCY_S, keep_s[status]))",
        "(0.0 if crowded else keep_s[status])",
        ("tests/core/test_retention.py",),
    ),
    # Memory.
    Mutant(
        "a field forgotten in replay", "src/jobd/core/lifecycle.py",
        "    job.interruptions = record.interruptions\n",
        "",
        ("tests/core/test_lifecycle.py",),
    ),
    Mutant(
        "a repeated request makes a second job", "src/jobd/core/engine.py",
        "            return Submittal(job.id, job.status, duplicate=True)",
        "            pass",
        ("tests/core/test_submit.py::test_asking_again_with_the_same_request_id_finds_the_same_job",),
    ),
    # Inside a job.
    Mutant(
        "the last progress may be lost", "src/jobd/current.py",
        "            until = monotonic() + _LAST_S\n",
        "            until = monotonic()\n",
        (PROGRESS,),
    ),
    Mutant(
        "a fork tells what its parent held back", "src/jobd/current.py",
        "    _reports.abandoned()\n    _reports.forked()\n",
        "",
        (PROGRESS,),
    ),
    Mutant(
        "a worker of the job's can't be terminated", "src/jobd/current.py",
        "    _stop.forked()\n",
        "",
        (STOPPING,),
    ),
    Mutant(
        "an obeyed signal looks like an exit", "src/jobd/child/run.py",
        "        os.kill(os.getpid(), self.signal)\n",
        "",
        (STOPPING,),
    ),
    Mutant(
        "a list of what runs looks at the whole history", "src/jobd/rpc/listing.py",
        "            if left == 0:\n",
        "            if left < 0:\n",
        ("tests/rpc/test_methods.py",),
    ),
    Mutant(
        "a list takes what has ended meanwhile for found", "src/jobd/rpc/listing.py",
        "    return sum(engine.counts[status] for status in statuses) - counted\n",
        "    return sum(engine.counts[status] for status in statuses) - len(above | found)\n",
        ("tests/rpc/test_methods.py",),
    ),
    # Signs of life, and what an end means.
    Mutant(
        "who is due is stopped without a look", "src/jobd/core/engine.py",
        "        if self.signs.look_at(job) <= command.at:\n",
        "        if True:\n",
        ("tests/core/test_idle.py",),
    ),
    Mutant(
        "a daemon's start is no sign of life", "src/jobd/core/engine.py",
        "        self.signs.begin(self.running.values(), now)\n",
        "",
        ("tests/core/test_idle.py",),
    ),
    Mutant(
        "progress outlives its attempt", "src/jobd/core/signs.py",
        "return self._progress.pop(job.id, None)",
        "return self._progress.get(job.id)",
        ("tests/core/test_idle.py",),
    ),
    Mutant(
        "a clock that was set makes a job idle", "src/jobd/supervisor/sight.py",
        "possible = [at for at in instants if before.at.boot <= at <= now.boot]",
        "possible = [instants[1]]",
        ("tests/supervisor/test_sight.py",),
    ),
    Mutant(
        "codes of a callable count as success", "src/jobd/core/verdict.py",
        "case None if ending.of_command and ending.kind in",
        "case None if ending.kind in",
        ("tests/core/test_verdict.py",),
    ),
    Mutant(
        "an exit code that is named is retried", "src/jobd/core/retry.py",
        "            return ending.exit_code in policy.no_retry_on\n",
        "            return False\n",
        ("tests/core/test_verdict.py",),
    ),
    Mutant(
        "a subclass is not what it is a kind of", "src/jobd/core/ends.py",
        "    said = set(mro)\n",
        "    said = set(mro[:1])\n",
        ("tests/core/test_ends.py",),
    ),
    Mutant(
        "a wish waits as the policy says", "src/jobd/core/retry.py",
        "    return min(ending.retry_after, DURATION_MAX_S)\n",
        "    return None\n",
        ("tests/core/test_verdict.py",),
    ),
    Mutant(
        "an old segment takes new forms", "src/jobd/journal/store.py",
        "            if reading.version < VERSION:",
        "            if False:",
        ("tests/journal/test_store.py",),
    ),
    Mutant(
        "a long policy takes room that nobody promised", "src/jobd/core/promises.py",
        "len(call) + policy.long_bytes + SUBMITTED_BYTES",
        "len(call) + SUBMITTED_BYTES",
        ("tests/journal/test_promises.py",),
    ),
    Mutant(
        "a field with a fault is looked at for ceilings", "src/jobd/rpc/submission.py",
        "_policy_of(given).items() if name not in named}",
        "_policy_of(given).items()}",
        ("tests/rpc/test_progress.py",),
    ),
    # Trees, limits, output, warm interpreters.
    Mutant(
        "memory is not measured", "src/jobd/keeper/limits.py",
        'if "memory" in self._most and _more_memory(',
        "if False and _more_memory(",
        ("tests/supervisor/test_limits.py",),
    ),
    Mutant(
        "what is shared counts for each", "src/jobd/keeper/limits.py",
        "    return sum(_own_bytes(process.pid) for process in processes) > most\n",
        "    return True\n",
        ("tests/supervisor/test_limits.py::test_what_is_shared_counts_once",),
    ),
    Mutant(
        "who may be left over is passed over", "src/jobd/keeper/attempt.py",
        "return self.members.unknown(mains)[:STRAYS_MAX]",
        "return []",
        (f"{TREES}::test_who_may_be_left_over_is_told_by_pid_and_ends_with_the_last",),
    ),
    Mutant(
        "a stray is anybody's although several run", "src/jobd/keeper/members.py",
        "alone = mains.possible == 1 and self._sweeping",
        "alone = self._sweeping",
        (f"{TREES}::test_who_may_be_left_over_is_told_by_pid_and_ends_with_the_last",),
    ),
    Mutant(
        "output is not bounded", "src/jobd/keeper/outputs.py",
        "            linux.punch_hole(fd, begin, end - begin)\n",
        "            pass\n",
        ("tests/supervisor/test_bounded_output.py",),
    ),
    Mutant(
        "a forked job's files are not written out", "src/jobd/child/leaving.py",
        "            try:\n                one.flush()\n",
        "            try:\n                continue\n",
        ("tests/supervisor/test_warm.py::test_what_a_job_leaves_open_is_written_and_finalised",),
    ),
]  # fmt: skip
