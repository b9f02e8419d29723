"""The composer: what is typed into the plan form, and plan JSON, either way.

`typed` holds the texts of the form, `models` a form for each charge model, `bodies`
reads and writes plan JSON, `posting` reads the form, `checking` finds what is wrong,
`acts` changes the structure, `shown` is what the templates show, `simulation` prices
it all with the engine that prices invoices.
"""

from __future__ import annotations
