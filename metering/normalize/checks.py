"""The self-check: a block's own total says what its figures include."""

from __future__ import annotations

from metering.normalize.reading import Block, Split


def by_total(
    block: Block,
    *,
    given: Split,
    total: int | None,
    cached: int,
    reasoning: int,
) -> Split:
    """Return the inclusive totals of figures whose parts are usually inside.

    total = in + out: all is inside; + reasoning: that is outside; + cached: that is.
    Where two of these fit and mean different things, or none does, the block is
    doubtful.
    """
    readings = {given}
    if total is not None:
        readings = {
            Split(given.input_tokens + c, given.output_tokens + r)
            for c in {0, cached}
            for r in {0, reasoning}
            if given.input_tokens + given.output_tokens + c + r == total
        }
    sound = {
        one
        for one in readings
        if one.input_tokens >= cached and one.output_tokens >= reasoning
    }
    if len(sound) == 1:
        return sound.pop()
    if not readings:
        block.doubt(
            f"the total is {total}; input {given.input_tokens}, output "
            f"{given.output_tokens}, reasoning {reasoning} and cache {cached} do not "
            "add up to it"
        )
    elif len(sound) > 1:
        block.doubt(
            f"the total {total} fits reasoning {reasoning} outside the output and "
            f"cache {cached} outside the input"
        )
    else:
        _parts_too_large(block, given, cached, reasoning)
    return given


def _parts_too_large(block: Block, given: Split, cached: int, reasoning: int) -> None:
    """Note which part is larger than the whole that it should be in."""
    if cached > given.input_tokens:
        block.doubt(f"{cached} cached tokens of {given.input_tokens} input tokens")
    if reasoning > given.output_tokens:
        block.doubt(
            f"{reasoning} reasoning tokens of {given.output_tokens} output tokens"
        )


def outside(
    block: Block, *, given: Split, total: int | None, cached: int, reasoning: int = 0
) -> Split:
    """Return the inclusive totals of figures whose names say: input without cache.

    A total, where there is one, has to include the cache too: one that does not
    speaks against the names, and nothing in the block decides between them.
    """
    whole = Split(given.input_tokens + cached, given.output_tokens)
    if total is not None and total != sum(whole):
        block.doubt(
            f"the total is {total}; input {given.input_tokens}, cache {cached} and "
            f"output {given.output_tokens} add up to {sum(whole)}"
        )
    if reasoning > given.output_tokens:
        _parts_too_large(block, whole, 0, reasoning)
    return whole


def parts_fit(block: Block, whole: int, name: str, *parts: int | None) -> None:
    """Note when parts of one kind sum to more than what they are parts of."""
    if (found := sum(part or 0 for part in parts)) > whole:
        block.doubt(f"the parts of {name} sum to {found}, more than {whole}")


def answered(block: Block, output: int | None, total: int | None) -> int:
    """Return the output; where nothing says that there was none, note that."""
    if output is None and total is None:
        block.doubt("neither the output nor a total is given")
    return output or 0
