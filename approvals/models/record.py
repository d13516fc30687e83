"""The base of every row on record: everyone may read it, only the writer's managers change it."""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn, TypeAlias

from django.db import models

QuerySet: TypeAlias = models.QuerySet[Any]
Manager: TypeAlias = models.Manager[Any]


class ReadOnlyQuerySet(QuerySet):
    """A queryset that refuses all writes: rows are written by approvals.writer only."""

    def _refuse(self, *args: object, **kwargs: object) -> NoReturn:
        raise TypeError(f"{self.model.__name__} rows are written by approvals.writer.execution only")

    create = get_or_create = update_or_create = bulk_create = bulk_update = update = delete = _refuse
    acreate = aget_or_create = aupdate_or_create = abulk_create = abulk_update = aupdate = adelete = _refuse
    _raw_delete = _refuse


class ReadOnlyManager(Manager):
    """The default manager of rows on record, which only reads."""

    def get_queryset(self) -> QuerySet:
        return ReadOnlyQuerySet(self.model, using=self._db)


class OnRecord(models.Model):
    """Base of every row on record, which can't be saved or deleted directly."""

    objects: ClassVar[Manager] = ReadOnlyManager()
    writing: ClassVar[Manager] = Manager()

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(f"{type(self).__name__} rows are written by approvals.writer.execution only")

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(f"{type(self).__name__} rows are never deleted")
