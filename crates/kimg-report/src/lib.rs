//! Tables of what an image holds and how big it is: terminal, Markdown, JSON, CSV.
