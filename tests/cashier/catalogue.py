"""The texts of the cashier, as they stand in its templates and code, and its translations.

python tests/cashier/catalogue.py      # brings locale/*/cashier.po up to date: new texts are added empty, gone ones removed
"""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

import guilder.cashier

HOME = Path(guilder.cashier.__file__).parent
_METHODS = [("templates/**.html", "jinja2"), ("**.py", "python")]
_KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2), "say": None}


def extracted() -> Catalog:
    """Every text that a payer may read, in English, without places: they would change with every line."""
    catalogue = Catalog()
    for _, _, message, _, _ in extract_from_dir(str(HOME), _METHODS, keywords=_KEYWORDS):
        catalogue.add(message, flags=["python-format"] if "%(" in str(message) else [])
    return catalogue


def files() -> Iterator[Path]:
    """The catalogues."""
    return HOME.glob("locale/*/LC_MESSAGES/cashier.po")


def read(file: Path) -> Catalog:
    """A catalogue from its file; malformed entries raise."""
    return read_po(BytesIO(file.read_bytes()), locale=file.parent.parent.name, abort_invalid=True)


def texts(catalogue: Catalog) -> dict[str | tuple[str, ...], Message]:
    """The messages without the header."""
    return {m.id if isinstance(m.id, str) else tuple(m.id): m for m in catalogue if m.id}


def main() -> None:
    """Bring the files up to date."""
    for file in files():
        catalogue = read(file)
        catalogue.update(extracted(), no_fuzzy_matching=True)
        catalogue.obsolete.clear()
        out = BytesIO()
        write_po(out, catalogue, width=120, sort_output=True, omit_header=True, ignore_obsolete=True)
        head = file.read_text("utf-8").partition("\n\n")[0]
        file.write_text(f"{head}\n\n{out.getvalue().decode()}", "utf-8")


if __name__ == "__main__":
    main()
