"""What a table as HTML holds."""

from html.parser import HTMLParser


class Cells(HTMLParser):
    """The tags with their attributes, and the texts, of a table."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if data.strip():
            self.texts.append(data)
