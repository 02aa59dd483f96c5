"""The daemon's pages for people: what everything costs, where it is, what goes on and waits, and each object's story.

Read-only, made on the server, and without a script: plain HTML, SVG and one style sheet of our own. A page reads
totals, the newest survey and rows by key, a hundred at a time, and no store.
"""
