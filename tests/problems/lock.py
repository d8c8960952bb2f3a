"""Write ``data/answers.csv``: a line for each problem, which keeps its salt."""

import csv
import io
import secrets

from chapters._tools.replacing import replace_text
from lmmlib.book import datasets, report
from lmmlib.common.text import fixed
from tests.problems import solutions


def main():
    before = datasets.answers()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["problem", "decimals", "salt", "digest"])
    for problem, (solve, decimals) in solutions().items():
        answer = fixed(solve(), decimals)
        line = before.get(problem, {"salt": secrets.token_hex(8), "digest": ""})
        digest = report.digest(problem, answer, line["salt"])
        print(f"{problem}: {answer} ({'as before' if digest == line['digest'] else 'new'})")
        writer.writerow([problem, decimals, line["salt"], digest])
    replace_text(datasets.path("answers"), text.getvalue())


if __name__ == "__main__":
    main()
