"""Notices between the processes of a deployment: "look again", never what is true."""
