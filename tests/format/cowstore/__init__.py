"""A reader of CowScsi's stores, written from docs/format.md alone. The letters and numbers of predicates are the document's."""


class Damage(Exception):
    """Something stored breaks a rule of the format; the text names file, offset and rule."""


class CannotRun(Exception):
    """Nothing is known to be wrong with the store, but what was asked for cannot be done."""
