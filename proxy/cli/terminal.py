# SPDX-License-Identifier: Apache-2.0
"""What is printed for people: nothing that anybody wrote into a file or a request may command their terminal."""


def plain(text: str, *, keep_newlines: bool = False) -> str:
    """Return a text without what a terminal would act on, or a person could not see.

    Control characters, those that turn the direction of writing, and the like become U+FFFD. A line of a ledger, a
    label of a metric and a name in a policy folder may all be anybody's.

    Args:
        text: the text.
        keep_newlines: whether a line may end within it.
    """
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or (keep_newlines and each == "\n") else "\N{REPLACEMENT CHARACTER}" for each in text
    )
