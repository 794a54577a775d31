"""What administrators decided about trusted applications, and what waits for their decision."""

import json
from collections.abc import Iterable
from typing import Any, Self

from peewee import BigIntegerField, TextField

from portal.models.base import EpochField, Record, WordsField


def subject(
    redirect_uris: Iterable[str], scopes: Iterable[str], owner_id: int, confidential: bool
) -> str:
    """What is trusted about an application, in one spelling: equal text means nothing changed."""
    what = [sorted(redirect_uris), sorted(scopes), owner_id, bool(confidential)]
    return json.dumps(what, ensure_ascii=False, separators=(",", ":"))


class Trust(Record):
    """One application's trust: who approved it last, and who asks for what.

    What was approved stands on the application's own row, where every request finds it.
    """

    application_id = BigIntegerField(primary_key=True)
    # Approved
    approved_at = EpochField(null=True)
    approved_by = TextField(default="")
    #: The owner's name then: people are deleted.
    approved_owner = TextField(default="")
    #: The end that the audit log has already.
    told_end = EpochField(default=0)
    # Asked for, or to be asked for again since the owner changed: None when nothing waits.
    asked_at = EpochField(null=True)
    #: The ids of all who had a hand in it since it was approved last: none of them approves it.
    asker_ids = WordsField(default=list)
    asked_by = TextField(default="")
    #: None while nobody asks for what it is now.
    asked_until = EpochField(null=True)
    asked_subject = TextField(default="")
    # Refused: what is asked for stays, until somebody changes it or asks again.
    refused_at = EpochField(null=True)
    refused_by = TextField(default="")
    note = TextField(default="")

    class Meta:
        table_name = "trust"

    @classmethod
    def of(cls, application_id: int) -> Self:
        """The application's row, a new one (not saved) when there is none."""
        return cls.get_or_none(cls.application_id == application_id) or cls(
            application_id=application_id
        )

    @classmethod
    def keep(cls, application_id: int, **fields: Any) -> None:
        """Save these fields of an application's row, whether there is one or not."""
        if not cls.update(**fields).where(cls.application_id == application_id).execute():
            cls.create(application_id=application_id, **fields)

    @property
    def is_open(self) -> bool:
        return self.asked_at is not None

    @property
    def waits(self) -> bool:
        return self.is_open and self.refused_at is None and not self.nobody_asks

    @property
    def nobody_asks(self) -> bool:
        """Whether an heir accepted it, so that somebody asks first, and then another decides."""
        return self.is_open and self.asked_until is None


#: Few wait of however many applications.
Trust.add_index(Trust.asked_at, where=Trust.asked_at.is_null(False), name="trust_asked")
NOTHING_ASKED: dict[str, Any] = {
    "asked_at": None,
    "asker_ids": [],
    "asked_by": "",
    "asked_until": None,
    "asked_subject": "",
    "refused_at": None,
    "refused_by": "",
    "note": "",
}
