"""Recipes (``build.yml``) → OCI images, from Debian packages, without Docker and without root.

``recipe`` reads a recipe, ``resolve`` makes its lock with apt, ``fetch`` brings the packages, ``deb`` reads them,
``tree`` lays them over each other, ``slim`` and ``kernel`` choose, ``compile`` adds C programs, ``build`` stores.
"""
