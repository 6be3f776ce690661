"""YAML text → ``Config``: what was asked, with the place of every value.

``source`` reads YAML into plain values and remembers their places, ``model`` says which keys exist, ``fields`` what a
value may say, ``decode`` joins them, ``checks`` looks across entries and files, ``merge`` joins files and ``load`` does
it all for a list of files.
"""
