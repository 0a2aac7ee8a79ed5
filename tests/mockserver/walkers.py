"""Walkers: each does random things in one world, and compares every read with what it wrote down itself.

What they know of the servers is written here a second time, from the documents; no behaviour of the mock is used.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from mock_users import Live, User, events_of

from flowcontract import paths

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from mock_calls import Answer, Caller

START = 1_732_147_200
UNKNOWN = "00000000-0000-4000-8000-000000000000"
_PNG = b"\x89PNG\r\n\x1a\n"


class Walker:
    """Someone who does things in the world of one key, in one of which requests are a second apart."""

    API = ""
    NAMES: tuple[str, ...] = ("",)

    def __init__(self, mock: Caller, suffix: str, chance: random.Random, called: Counter[str]) -> None:
        """Begin in a fresh world; `called` counts the operations and how they were answered."""
        self.users = [User(mock, self.API, suffix, name=name) for name in self.NAMES]
        self.chance = chance
        self.called = called
        self.asked = 0
        self.ids: set[str] = set()
        self.steps = [getattr(self, name) for name in sorted(dir(self)) if name.startswith("do_")]

    def step(self) -> None:
        """Do one thing."""
        self.chance.choice(self.steps)()

    def move(self, mock: Caller) -> None:
        """Go on with a mock that has been started again."""
        for user in self.users:
            user.mock = mock

    @property
    def now(self) -> int:
        """The time of the last request."""
        return START + self.asked - 1

    def call(self, user: User, operation: str, status: int, body: Any = None, **request: Any) -> Answer:
        """Call an operation, which has to answer with a status."""
        self.asked += 1
        answer = user.call(operation, body, **request)
        told = f"{operation} of {user.name or self.API}: {answer.status} {answer.body[:300]!r}"
        assert answer.status == status, told
        self.called[f"{self.API}/{operation} {answer.status}"] += 1
        return answer

    def open(self, user: User, operation: str, body: Any) -> Live:
        """Begin to read a stream: its first event has come."""
        self.asked += 1
        live = Live(user.open(operation, body).body)  # type: ignore[arg-type]
        live.step()
        self.called[f"{self.API}/{operation} 200"] += 1
        return live

    def new(self, identifier: str) -> str:
        """Return an id, which no answer has given before."""
        assert identifier not in self.ids, f"{identifier} came twice"
        self.ids.add(identifier)
        return identifier

    def other(self, user: User) -> User:
        """Return the other user."""
        return next(one for one in self.users if one is not user)

    def chosen_user(self) -> User:
        """Return one of the users."""
        return self.chance.choice(self.users)

    def word(self) -> str:
        """Return a word that nothing else contains."""
        return f"w{self.asked}x{self.chance.randrange(1 << 40):010x}"


@dataclass
class Said:
    """One question with its answer, as far as it has come."""

    id: str
    query: str
    inputs: dict[str, Any]
    created: int
    answer: str = ""
    rating: str | None = None
    files: int = 0


@dataclass
class Talk:
    """A conversation."""

    id: str
    owner: User
    name: str
    inputs: dict[str, Any]
    created: int
    updated: int
    said: list[Said] = field(default_factory=list)


@dataclass
class Telling:
    """An answer that is being streamed."""

    live: Live
    talk: Talk
    said: Said
    task: str


class ChatWalker(Walker):
    """Two users of the chat app."""

    API = "dify-chat"
    NAMES = ("ann-q7", "bob-q7")

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.talks: list[Talk] = []
        self.gone: list[str] = [UNKNOWN]
        self.tellings: list[Telling] = []
        self.files: dict[str, list[str]] = {user.name: [] for user in self.users}
        self.constant: dict[str, Any] = {}

    def move(self, mock: Caller) -> None:
        """Go on with a mock that has been started again: no answer that was streamed goes on."""
        super().move(mock)
        self.tellings = []

    def own(self, user: User) -> list[Talk]:
        """Return a user's conversations."""
        return [talk for talk in self.talks if talk.owner is user]

    def not_own(self, user: User) -> str:
        """Return the id of a conversation that is another user's, or was deleted, or never was."""
        return self.chance.choice([*self.gone, *(talk.id for talk in self.own(self.other(user)))])

    def question(self, user: User, talk: Talk | None) -> dict[str, Any]:
        """Return the body of a question."""
        chance = self.chance
        query = chance.choice(
            [f"What is {self.word()}?", f"{self.word()}  spaces\nand lines {self.word()} " * 3, "短い"]
        )
        inputs = chance.choice([{}, {}, {"name": "Lucy"}])
        body: dict[str, Any] = {"query": query, "inputs": inputs, "conversation_id": talk.id if talk else ""}
        if chance.random() < 0.2:
            body["auto_generate_name"] = False
        if self.files[user.name] and chance.random() < 0.3:
            file = chance.choice(self.files[user.name])
            body["files"] = [{"type": "image", "transfer_method": "local_file", "upload_file_id": file}]
        return body

    def note(self, user: User, body: dict[str, Any], talk: Talk | None, said: dict[str, Any]) -> tuple[Talk, Said]:
        """Write down a question that has been asked."""
        if talk is None:
            line = " ".join(body["query"].split())
            name = line if len(line) <= 40 else line[:40] + "..."
            if not body.get("auto_generate_name", True):
                name = "New conversation"
            talk = Talk(self.new(said["conversation_id"]), user, name, body["inputs"], self.now, self.now)
            self.talks.append(talk)
        assert said["conversation_id"] == talk.id
        message = Said(self.new(said["message_id"]), body["query"], body["inputs"], self.now)
        message.files = len(body.get("files", []))
        talk.said.append(message)
        talk.updated = self.now
        return talk, message

    def do_ask(self) -> None:
        """Ask, and wait for the whole answer, as one text or as a stream."""
        user = self.chosen_user()
        talk = self.chance.choice([None, *self.own(user)])
        body, mode = self.question(user, talk), self.chance.choice(["blocking", "streaming"])
        answer = self.call(user, "sendChatMessage", 200, {**body, "response_mode": mode})
        if mode == "blocking":
            _, said = self.note(user, body, talk, answer.json)
            said.answer = answer.json["answer"]
        else:
            _, said = self.note(user, body, talk, answer.events[0])
            said.answer = "".join(one["answer"] for one in answer.events if one["event"] == "message")
        assert said.answer

    def do_ask_amiss(self) -> None:
        """Go on with a conversation that is not there, or put in what the form does not allow."""
        user = self.chosen_user()
        body = {"query": "q", "inputs": {}, "response_mode": self.chance.choice(["blocking", "streaming"])}
        self.call(user, "sendChatMessage", 404, {**body, "conversation_id": self.not_own(user)})
        self.call(user, "sendChatMessage", 400, {**body, "inputs": {"name": "x" * 49}})
        foreign = self.chance.choice([UNKNOWN, *self.files[self.other(user).name]])
        files = [{"type": "image", "transfer_method": "local_file", "upload_file_id": foreign}]
        self.call(user, "sendChatMessage", 400, {**body, "files": files})

    def do_begin_a_stream(self) -> None:
        """Ask, and read only the beginning of the answer for now."""
        user = self.chosen_user()
        talk = self.chance.choice([None, *self.own(user)])
        body = self.question(user, talk)
        live = self.open(user, "sendChatMessage", {**body, "response_mode": "streaming"})
        first = events_of(live.said)[0]
        self.tellings.append(Telling(live, *self.note(user, body, talk, first), task=self.new(first["task_id"])))
        self.listen(self.tellings[-1])

    def do_read_on(self) -> None:
        """Read some more of an answer, or all the rest."""
        for telling in self.chance.sample(self.tellings, min(2, len(self.tellings))):
            if self.chance.random() < 0.3:
                telling.live.rest()
            elif telling.live.wake is not None:
                telling.live._advance()
            self.listen(telling)

    def do_stop(self) -> None:
        """Stop an answer; only who asked can."""
        user = self.chosen_user()
        self.call(user, "stopChatMessage", 200, {}, task_id=UNKNOWN)
        for telling in self.chance.sample(self.tellings, min(1, len(self.tellings))):
            before, wake = len(events_of(telling.live.said)), telling.live.wake
            self.call(user, "stopChatMessage", 200, {}, task_id=telling.task)
            if user is telling.talk.owner:
                telling.live.rest()
                assert "message_end" in [one["event"] for one in events_of(telling.live.said)[before:]]
                self.listen(telling)
            assert user is telling.talk.owner or telling.live.wake == wake

    def do_leave(self) -> None:
        """Stop to listen."""
        if self.tellings:
            telling = self.tellings.pop(self.chance.randrange(len(self.tellings)))
            telling.live.body.close()

    def listen(self, telling: Telling) -> None:
        """Take over what a stream has said; forget it when it is over."""
        events = events_of(telling.live.said)
        telling.said.answer = "".join(one["answer"] for one in events if one["event"] == "message")
        if telling.live.wake is None:
            self.tellings = [one for one in self.tellings if one is not telling]

    def do_read_messages(self) -> None:
        """Read a conversation from its newest page to its oldest."""
        user = self.chosen_user()
        self.call(user, "listMessages", 404, query={"user": user.name, "conversation_id": self.not_own(user)})
        for talk in self.chance.sample(self.own(user), min(2, len(self.own(user)))):
            limit, seen, first = self.chance.choice([1, 2, 3, 100]), list[Any](), None
            while True:
                query = {"user": user.name, "conversation_id": talk.id, "limit": limit, "first_id": first}
                page = self.call(user, "listMessages", 200, query=query).json
                assert page["limit"] == limit
                assert len(page["data"]) <= limit
                seen = page["data"] + seen
                assert page["has_more"] == (len(seen) < len(talk.said))
                if not page["has_more"]:
                    break
                first = page["data"][0]["id"]
            assert [self.shown(one) for one in seen] == [self.expected(talk, one) for one in talk.said]
            self.call(
                user, "listMessages", 404, query={"conversation_id": talk.id, "first_id": UNKNOWN, "user": user.name}
            )

    @staticmethod
    def shown(message: dict[str, Any]) -> tuple[Any, ...]:
        """Return what is compared of a message."""
        rating = (message["feedback"] or {}).get("rating")
        names = ("id", "conversation_id", "query", "inputs", "answer", "created_at")
        return (*(message[name] for name in names), rating, len(message["message_files"]))

    @staticmethod
    def expected(talk: Talk, said: Said) -> tuple[Any, ...]:
        """Return the same of what was written down."""
        return (said.id, talk.id, said.query, said.inputs, said.answer, said.created, said.rating, said.files)

    def do_list_conversations(self) -> None:
        """Read the list of conversations in one of its orders, page by page."""
        user, order = self.chosen_user(), self.chance.choice(["created_at", "-created_at", "updated_at", "-updated_at"])
        limit, seen, last = self.chance.choice([1, 2, 5, 100]), list[Any](), None
        while True:
            query = {"user": user.name, "limit": limit, "sort_by": order, "last_id": last}
            page = self.call(user, "listConversations", 200, query=query).json
            seen += page["data"]
            if not page["has_more"]:
                break
            assert len(page["data"]) == limit
            last = seen[-1]["id"]
        key: Callable[[Talk], int] = lambda talk: talk.created if order.endswith("created_at") else talk.updated  # noqa: E731
        expected = sorted(self.own(user), key=key, reverse=order.startswith("-"))
        names = ("id", "name", "inputs", "created_at", "updated_at")
        assert [[one[name] for name in names] for one in seen] == [
            [talk.id, talk.name, talk.inputs, talk.created, talk.updated] for talk in expected
        ]
        self.call(user, "listConversations", 404, query={"user": user.name, "last_id": self.not_own(user)})

    def do_rename(self) -> None:
        """Give a conversation another name."""
        user = self.chosen_user()
        self.call(user, "renameConversation", 404, {"name": "n"}, conversation_id=self.not_own(user))
        if not self.own(user):
            return
        talk = self.chance.choice(self.own(user))
        if self.chance.random() < 0.3:
            self.call(user, "renameConversation", 400, {"name": ""}, conversation_id=talk.id)
        if self.chance.random() < 0.5:
            talk.name, body = (name := f"Name {self.word()}"), {"name": name}
        else:
            line = " ".join(talk.said[0].query.split())
            talk.name, body = line if len(line) <= 40 else line[:40] + "...", {"auto_generate": True}
        renamed = self.call(user, "renameConversation", 200, body, conversation_id=talk.id).json
        talk.updated = self.now
        assert (renamed["id"], renamed["name"]) == (talk.id, talk.name)

    def do_delete(self) -> None:
        """Delete a conversation: nothing of it is there afterwards, even if an answer in it goes on."""
        user = self.chosen_user()
        self.call(user, "deleteConversation", 404, {}, conversation_id=self.not_own(user))
        if not self.own(user) or self.chance.random() < 0.5:
            return
        talk = self.chance.choice(self.own(user))
        self.call(user, "deleteConversation", 200, {}, conversation_id=talk.id)
        self.talks.remove(talk)
        self.gone.append(talk.id)
        for said in talk.said:
            self.call(user, "sendMessageFeedback", 404, {"rating": "like"}, message_id=said.id)
            self.call(user, "listSuggestedQuestions", 404, query={"user": user.name}, message_id=said.id)
        for telling in [one for one in self.tellings if one.talk is talk]:
            telling.live.rest()
            self.listen(telling)

    def one_message(self, user: User) -> Said | None:
        """Return one of a user's messages."""
        said = [one for talk in self.own(user) for one in talk.said]
        return self.chance.choice(said) if said else None

    def do_rate(self) -> None:
        """Like it, dislike it, take that back; not what another user was told."""
        user = self.chosen_user()
        if said := self.one_message(user):
            rating = self.chance.choice(["like", "dislike", None])
            self.call(user, "sendMessageFeedback", 200, {"rating": rating}, message_id=said.id)
            said.rating = rating
            self.call(self.other(user), "sendMessageFeedback", 404, {"rating": "like"}, message_id=said.id)
        self.call(user, "sendMessageFeedback", 404, {"rating": None}, message_id=UNKNOWN)

    def do_suggest(self) -> None:
        """Ask what to ask next."""
        user = self.chosen_user()
        if said := self.one_message(user):
            answer = self.call(user, "listSuggestedQuestions", 200, query={"user": user.name}, message_id=said.id).json
            assert answer["result"] == "success"
            assert answer["data"]
            other = self.other(user)
            self.call(other, "listSuggestedQuestions", 404, query={"user": other.name}, message_id=said.id)

    def do_upload(self) -> None:
        """Upload an image."""
        user, image = self.chosen_user(), _PNG + self.chance.randbytes(self.chance.randrange(50))
        name = self.chance.choice(["a.png", "名前.png", "with space.PNG"])
        file = self.call(user, "uploadFile", 201, form={"file": (name, image)}).json
        shown = (file["name"], file["size"], file["extension"], file["created_at"])
        assert shown == (name, len(image), "png", self.now)
        self.files[user.name].append(self.new(file["id"]))

    def do_speak_and_listen(self) -> None:
        """Have a message or a text read out, and a recording written down."""
        user = self.chosen_user()
        self.call(user, "convertTextToAudio", 200, {"text": "hello"})
        if said := self.one_message(user):
            assert self.call(user, "convertTextToAudio", 200, {"message_id": said.id}).body
            self.call(self.other(user), "convertTextToAudio", 404, {"message_id": said.id, "text": "hello"})
        assert self.call(user, "convertAudioToText", 200, form={"file": ("a.wav", b"RIFF")}).json["text"]
        self.call(user, "convertAudioToText", 415, form={"file": ("a.txt", b"text")})

    def do_look_at_the_app(self) -> None:
        """Ask what the app is, which never changes."""
        for operation in ("getInfo", "getParameters", "getMeta"):
            told = self.call(self.chosen_user(), operation, 200).json
            assert self.constant.setdefault(operation, told) == told


@dataclass
class Run:
    """A run, as far as it has been told."""

    id: str
    task: str
    user: User
    inputs: dict[str, Any]
    created: int
    data: dict[str, Any]
    live: Live | None = None


class RunWalker(Walker):
    """Two users of the workflow app."""

    API = "dify-workflow"
    NAMES = ("ann-q7", "bob-q7")
    PRINTED = ("c0640fc8-03ef-4481-a96c-8a13b732a36e", "b1ad3277-089e-42c6-9dff-6820d94fbc76")  # 001:524, 001:332

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.runs: list[Run] = []
        self.files: dict[str, list[str]] = {user.name: [] for user in self.users}
        self.constant: dict[str, Any] = {}

    def move(self, mock: Caller) -> None:
        """Go on with a mock that has been started again: runs that went on have failed."""
        super().move(mock)
        for run in self.runs:
            if run.live is not None:
                run.live, run.data = None, {"status": "failed"}

    def inputs(self, user: User) -> dict[str, Any]:
        """Return what the form allows."""
        inputs: dict[str, Any] = {"text": f"About {self.word()}."}
        if self.chance.random() < 0.3:
            inputs["language"] = self.chance.choice(["English", "German", "French", "Chinese"])
        if self.files[user.name] and self.chance.random() < 0.4:
            file = self.chance.choice(self.files[user.name])
            inputs["orig_mail"] = [{"type": "document", "transfer_method": "local_file", "upload_file_id": file}]
        return inputs

    def do_run(self) -> None:
        """Run, and wait for the end."""
        user, mode = self.chosen_user(), self.chance.choice(["blocking", "streaming"])
        inputs = self.inputs(user)
        answer = self.call(user, "runWorkflow", 200, {"inputs": inputs, "response_mode": mode})
        told = answer.json if mode == "blocking" else answer.events[-1]
        run, task = self.new(told["workflow_run_id"]), self.new(told["task_id"])
        self.runs.append(Run(run, task, user, inputs, self.now, told["data"]))
        assert told["data"]["status"] == "succeeded"

    def do_run_amiss(self) -> None:
        """Put in what the form does not allow, and files that are not there or another user's."""
        user = self.chosen_user()
        foreign = self.chance.choice([UNKNOWN, *self.files[self.other(user).name]])
        file = {"type": "document", "transfer_method": "local_file", "upload_file_id": foreign}
        wrong: list[dict[str, Any]] = [{"text": "x" * 4001}, {"language": "Latin"}, {"text": 5}, {"orig_mail": [file]}]
        if self.files[user.name]:
            wrong.append({"orig_mail": [{**file, "upload_file_id": self.files[user.name][0], "type": "image"}]})
        mode = self.chance.choice(["blocking", "streaming"])
        self.call(user, "runWorkflow", 400, {"inputs": self.chance.choice(wrong), "response_mode": mode})

    def do_begin_a_run(self) -> None:
        """Run, and read only the beginning for now."""
        user = self.chosen_user()
        inputs = self.inputs(user)
        live = self.open(user, "runWorkflow", {"inputs": inputs, "response_mode": "streaming"})
        first = events_of(live.said)[0]
        run, task = self.new(first["workflow_run_id"]), self.new(first["task_id"])
        self.runs.append(Run(run, task, user, inputs, self.now, {"status": "running", "outputs": None}, live))
        self.listen(self.runs[-1])

    def running(self) -> list[Run]:
        """Return the runs that are being streamed."""
        return [run for run in self.runs if run.live is not None]

    def listen(self, run: Run) -> None:
        """Take over what a stream has said."""
        assert run.live is not None
        ends = [one for one in events_of(run.live.said) if one["event"] == "workflow_finished"]
        if ends:
            run.data = ends[-1]["data"]
        if run.live.wake is None:
            assert ends
            run.live = None

    def do_read_on(self) -> None:
        """Read some more of a run, or all the rest."""
        for run in self.chance.sample(self.running(), min(2, len(self.running()))):
            assert run.live is not None
            if self.chance.random() < 0.3:
                run.live.rest()
            else:
                run.live._advance()
            self.listen(run)

    def do_stop(self) -> None:
        """Stop a run; only who started it can, and everybody is told that it succeeded."""
        user, over = self.chosen_user(), [run.task for run in self.runs if run.live is None]
        self.call(user, "stopWorkflow", 200, {}, task_id=self.chance.choice([UNKNOWN, *over]))
        for run in self.chance.sample(self.running(), min(1, len(self.running()))):
            assert run.live is not None
            wake, ended = run.live.wake, run.data["status"] != "running"
            self.call(user, "stopWorkflow", 200, {}, task_id=run.task)
            if user is not run.user:
                assert run.live.wake == wake
            elif not ended:
                run.live.rest()
                self.listen(run)
                assert run.data["status"] == "stopped"

    def do_leave(self) -> None:
        """Stop to listen: the run ends with that."""
        for run in self.chance.sample(self.running(), min(1, len(self.running()))):
            assert run.live is not None
            run.live.body.close()
            run.live = None
            if run.data["status"] == "running":
                run.data = {"status": "stopped"}

    def do_look_at_a_run(self) -> None:
        """Read a run's detail."""
        user = self.chosen_user()
        self.call(user, "getWorkflowRun", 404, workflow_run_id=UNKNOWN)
        for run in self.chance.sample(self.runs, min(3, len(self.runs))):
            told = self.call(user, "getWorkflowRun", 200, workflow_run_id=run.id).json
            assert told["id"] == run.id
            inputs = json.loads(told["inputs"])
            assert {**run.inputs, "sys.user_id": run.user.name}.items() <= inputs.items()
            for name in ("status", "total_tokens", "total_steps", "elapsed_time", "error"):
                if name in run.data:
                    assert told[name] == run.data[name]
            outputs = None if told["outputs"] is None else json.loads(told["outputs"])
            assert outputs == run.data.get("outputs")
            assert told["created_at"] == run.created
            assert (told["finished_at"] is None) == (run.data["status"] == "running")

    def do_read_the_log(self) -> None:
        """Read a page of the log, with or without a filter."""
        user, chance = self.chosen_user(), self.chance
        newest = [*reversed(self.runs)]
        status = chance.choice([None, "succeeded", "failed", "stopped"])
        query: dict[str, Any] = {"limit": chance.choice([1, 2, 5, 20, 100, 150]), "page": chance.choice([1, 1, 2, 3])}
        found = [(run.id, run.data["status"]) for run in newest]
        if chance.random() < 0.5:
            keyword = chance.choice(
                ["no such word", user.name, *(run.inputs["text"].upper() for run in newest), UNKNOWN]
            )
            query["keyword"] = keyword
            hit = [keyword.lower() in f"{run.inputs['text']} {run.user.name}".lower() for run in newest]
            found = [one for one, is_hit in zip(found, hit, strict=True) if is_hit]
        else:
            found += [(run, "succeeded") for run in self.printed(user)]
        if status:
            query["status"] = status
            found = [one for one in found if one[1] == status]
        told = self.call(user, "listWorkflowLogs", 200, query=query).json
        limit = min(query["limit"], 100)
        begin = (query["page"] - 1) * limit
        shown = [(one["workflow_run"]["id"], one["workflow_run"]["status"]) for one in told["data"]]
        assert shown == found[begin : begin + limit]
        assert (told["page"], told["limit"], told["total"]) == (query["page"], limit, len(found))
        assert told["has_more"] == (begin + limit < len(found))

    def printed(self, user: User) -> list[str]:
        """Return the runs that every world begins with, the latest first."""
        return list(self.PRINTED)

    def do_upload(self) -> None:
        """Upload a document, or what is not taken."""
        user, content = self.chosen_user(), self.chance.randbytes(self.chance.randrange(100))
        file = self.call(user, "uploadFile", 201, form={"file": ("mail.txt", content)}).json
        assert (file["name"], file["size"], file["extension"]) == ("mail.txt", len(content), "txt")
        self.files[user.name].append(self.new(file["id"]))
        self.call(user, "uploadFile", 415, form={"file": ("program.exe", content)})

    def do_look_at_the_app(self) -> None:
        """Ask what the app is, which never changes."""
        for operation in ("getInfo", "getParameters", "getSite"):
            told = self.call(self.chosen_user(), operation, 200).json
            assert self.constant.setdefault(operation, told) == told


@dataclass
class Kept:
    """A file of the account."""

    name: str
    path: str
    content: bytes
    suffix: str


def _printed_file(name: str) -> bytes:
    return (paths.find_fixtures_root() / "agentbuilder" / "files" / name).read_bytes()


class FileWalker(Walker):
    """Someone who keeps files in AgentBuilder and runs flows on them."""

    API = "agentbuilder"
    FLOWS = ("92f9a4c5-cfc8-4656-ae63-1f0881163c28", "a430cc57-06bb-4c11-be39-d3d4de68d2c4")  # 003:18, 003:26
    FILE_NAMES = ("report.pdf", "with space.txt", "名前.txt", "no-ending", "a;b.txt", "x" * 300 + ".txt", "report.pdf")

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        text, image, manual = (_printed_file(one) for one in ("your_file.txt", "image-file.png", "engine_manual.pdf"))
        one, two = "07e5b864-e367-4f52-b647-a48035ae7e5e", "6f17a73e-97d7-4519-a8d9-8e4c0be411bb"
        self.flow_files: dict[str, dict[str, bytes]] = {
            self.FLOWS[0]: {"2024-12-30_15-19-43_your_file.txt": text},
            self.FLOWS[1]: {"2024-11-27_14-47-50_image-file.png": image},
        }
        printed = {  # 003:72, 003:78, 003:87
            "3a290013-fe1e-4d3d-a454-cacae81288f3": (one, "what_do_you_see", manual, ".pdf"),
            "c7b22c4c-d5e0-4ec9-af97-5d85b7657a34": (two, "your_file", text, ".txt"),
            "76543e40-f388-4cb3-b0ee-a1e870aca3d3": (two, "old_file_name", image, ".png"),
        }
        self.files = {
            key: Kept(name, f"{owner}/{key}{suffix}", content, suffix)
            for key, (owner, name, content, suffix) in printed.items()
        }
        self.deleted = [UNKNOWN]
        self.me: Any = None
        (self.user,) = self.users

    def content(self) -> bytes:
        """Return some bytes, sometimes none."""
        return self.chance.randbytes(self.chance.choice([0, 1, 300, 70_000]))

    def do_keep_with_a_flow(self) -> None:
        """v1: upload a file."""
        flow, name, content = self.chance.choice(self.FLOWS), self.chance.choice(self.FILE_NAMES), self.content()
        told = self.call(self.user, "uploadFlowFile", 201, form={"file": (name, content)}, flow_id=flow).json
        folder, _, stored = told["file_path"].partition("/")
        assert (told["flowId"], folder) == (flow, flow)
        assert stored.endswith(f"_{name}")
        assert stored not in self.flow_files[flow]
        self.flow_files[flow][stored] = content
        self.call(self.user, "uploadFlowFile", 404, form={"file": (name, content)}, flow_id=UNKNOWN)

    def do_list_a_flows(self) -> None:
        """v1: list the files, in whatever order."""
        flow = self.chance.choice(self.FLOWS)
        listed = self.call(self.user, "listFlowFiles", 200, flow_id=flow).json["files"]
        assert sorted(listed) == sorted(self.flow_files[flow])  # in no order that a client could rely on

    def do_download_from_a_flow(self) -> None:
        """v1: get a file back."""
        flow = self.chance.choice(self.FLOWS)
        for name, content in self.chance.sample(
            sorted(self.flow_files[flow].items()), min(2, len(self.flow_files[flow]))
        ):
            assert self.call(self.user, "downloadFlowFile", 200, flow_id=flow, file_name=name).body == content
        self.call(self.user, "downloadFlowFile", 404, flow_id=flow, file_name="never.txt")

    def do_delete_from_a_flow(self) -> None:
        """v1: delete a file, twice."""
        flow = self.chance.choice(self.FLOWS)
        name = self.chance.choice(["never.txt", *self.flow_files[flow]])
        self.flow_files[flow].pop(name, None)
        for _ in range(2):
            self.call(self.user, "deleteFlowFile", 200, flow_id=flow, file_name=name)
        self.call(self.user, "downloadFlowFile", 404, flow_id=flow, file_name=name)

    def do_keep(self) -> None:
        """v2: upload a file; a name that is taken gets the first free number, one of over 255 bytes is refused."""
        name, content = self.chance.choice(self.FILE_NAMES), self.content()
        if len(name.encode()) > 255:  # 003 does not say how long a name may be; real servers do
            self.call(self.user, "uploadUserFile", 400, form={"file": (name, content)})
            return
        stem, dot, ending = name.rpartition(".")
        stem, suffix = (stem, dot + ending) if dot else (name, "")
        taken = {file.name for file in self.files.values()}
        expected, number = stem, 0
        while expected in taken:
            number += 1
            expected = f"{stem} ({number})"
        told = self.call(self.user, "uploadUserFile", 201, form={"file": (name, content)}).json
        assert (told["name"], told["size"]) == (expected, len(content))
        assert told["path"].endswith(f"{told['id']}{suffix}")
        self.files[self.new(told["id"])] = Kept(expected, told["path"], content, suffix)

    def do_list(self) -> None:
        """v2: list the files."""
        told = self.call(self.user, "listUserFiles", 200).json
        assert [(one["id"], one["name"], one["path"], one["size"]) for one in told] == [
            (key, file.name, file.path, len(file.content)) for key, file in self.files.items()
        ]

    def do_download(self) -> None:
        """v2: get files back, under their names."""
        for key, file in self.chance.sample(
            sorted(self.files.items(), key=lambda one: one[0]), min(2, len(self.files))
        ):
            answer = self.call(self.user, "downloadUserFile", 200, file_id=key)
            assert answer.body == file.content
            assert quote(f"{file.name}{file.suffix}", safe="") in answer.headers["Content-Disposition"]
        self.call(self.user, "downloadUserFile", 404, file_id=self.chance.choice(self.deleted))

    def do_rename(self) -> None:
        """v2: rename a file; its path stays."""
        self.call(self.user, "renameUserFile", 404, query={"name": "n"}, file_id=self.chance.choice(self.deleted))
        if self.files:
            key = self.chance.choice(sorted(self.files))
            self.files[key].name = self.chance.choice(["renamed", f"名前 {self.word()}", "report"])
            told = self.call(self.user, "renameUserFile", 200, query={"name": self.files[key].name}, file_id=key).json
            assert (told["id"], told["name"], told["path"]) == (key, self.files[key].name, self.files[key].path)

    def do_delete(self) -> None:
        """v2: delete a file, twice."""
        if self.files:
            key = self.chance.choice(sorted(self.files))
            del self.files[key]
            self.deleted.append(key)
            self.call(self.user, "deleteUserFile", 200, file_id=key)
        self.call(self.user, "deleteUserFile", 404, file_id=self.chance.choice(self.deleted))

    def do_delete_all(self) -> None:
        """v2: delete all files, now and then."""
        if self.chance.random() < 0.3:
            self.call(self.user, "deleteAllUserFiles", 200)
            self.deleted += self.files
            self.files = {}

    def do_run(self) -> None:
        """Run a flow on files that are there, on such that are not, and on an image of the account, which fails."""
        flow = self.chance.choice(self.FLOWS)
        images = [file.path for file in self.files.values() if file.path.endswith(".png")]
        if images:
            body = {"tweaks": {"File-1olS3": {"path": [self.chance.choice(images)]}}}
            self.call(self.user, "runFlow", 500, body, flow_id=flow)
        paths = [file.path for file in self.files.values() if file.path not in images]
        paths += [f"{folder}/{name}" for folder, names in self.flow_files.items() for name in names]
        tweak: Any = self.chance.choice(paths) if paths else []
        body = {"input_value": self.word(), "tweaks": {"File-1olS3": {self.chance.choice(["files", "path"]): tweak}}}
        told = self.call(self.user, "runFlow", 200, body, flow_id=flow, query={"stream": "false"}).json
        assert told["session_id"] == flow
        assert told["outputs"][0]["inputs"]["input_value"] == body["input_value"]
        assert self.call(self.user, "runFlow", 200, body, flow_id=flow, query={"stream": "true"}).body
        gone = {"tweaks": {"File-1olS3": {"path": f"{flow}/{self.chance.choice(['never.txt', *self.deleted])}"}}}
        self.call(self.user, "runFlow", 404, gone, flow_id=flow)
        self.call(self.user, "runFlow", 404, {}, flow_id=UNKNOWN)

    def do_upload_the_old_way(self) -> None:
        """v1, deprecated: the file is named by the hash of its bytes, and in no list."""
        flow, content = self.chance.choice(self.FLOWS), self.content()
        told = self.call(self.user, "createUploadFile", 201, form={"file": ("a.txt", content)}, flow_id=flow).json
        assert told["flowId"] == flow
        assert told["file_path"].endswith(f"/{sha256(content).hexdigest()}.txt")

    def do_who_am_i(self) -> None:
        """Ask whose key it is, which never changes."""
        told = self.call(self.user, "getCurrentUser", 200).json
        self.me = self.me or told
        assert told == self.me


class RobotWalker(Walker):
    """Someone who uploads into Cybertron's flows."""

    API = "cybertron"
    FLOWS = ("xxxxxxx", "7c9f3f0e-6d3b-4a57-9d0b-1f1c6f9e2a41")

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.number = 0

    def upload(self, code: str = "000000", **form: Any) -> Any:
        """Upload with a form that is complete but for what is given."""
        complete = {"mode": "2", "flow_uuid": self.FLOWS[1], "tenant_name": "AiopsTest", "username": "me@host.com"}
        fields = {name: value for name, value in {**complete, **form}.items() if value is not None}
        told = self.call(self.users[0], "offlineUploadFile", 200, form=fields).json
        assert told["code"] == code
        if code != "000000":
            assert told["data"] is None
        return told["data"]

    def do_upload(self) -> None:
        """Upload with a file or without: each gets the next number."""
        flow = self.chance.choice(self.FLOWS)
        with_file = {"mode": "1", "file": ("a.wav", b"RIFF"), "file_name": "a.wav", "extra_params": "aaa"}
        told = self.upload(flow_uuid=flow, **self.chance.choice([with_file, {}]))
        self.number += 1
        assert told["id"] == self.number

    def do_upload_amiss(self) -> None:
        """Leave something out, or name a flow that there is not: that takes no number."""
        form, code = self.chance.choice(
            [
                ({"flow_uuid": "no-such-flow"}, "404001"),
                ({"tenant_name": None}, "400001"),
                ({"username": None}, "400002"),
                ({"mode": "1", "file_name": "a.wav", "extra_params": "aaa"}, "400003"),
                ({"mode": "3"}, "400004"),
                ({"inputs": "[1]"}, "400005"),
            ]
        )
        self.upload(code, **form)
