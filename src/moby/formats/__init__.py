"""Byte codecs that know nothing of this project: archives, file systems, disks, boot images, compression.

They read and write binary streams and start no program; what comes out depends on what goes in alone.
``entry`` is what archives and file systems hold, ``content`` what is put into disks.
"""
