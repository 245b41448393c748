"""Runs one peer, as `benches/peers/src/worker.rs` asks for it.

``worker.py FOLDER peers`` prints who takes part. ``worker.py FOLDER run WORKLOAD PEER URL CA`` makes that peer and
reads lines from stdin: ``warm COUNT``, or ``COUNT MILLISECONDS`` for a turn; each is answered with a line of JSON.
FOLDER holds a folder for each distribution: only the peer's own is on its path, so that none replaces a module of
another's.
"""

import sys

from calls import Call, Peer


def start(peer: Peer, call: Call) -> None:
    """What a process does that wants one answer; its exit code says whether it got it."""
    call.check(peer.make(call)())


def main(folder: str, command: str, *arguments: str) -> None:
    """Do what the command says."""
    if command == "peers":
        import turns

        turns.tell(folder)
        return
    workload, name, url, ca = arguments
    call = Call(workload, url, ca)
    if workload == "start":
        from starting import START

        START[name].enter(folder)
        start(START[name], call)
    else:
        import turns

        turns.serve(folder, workload, name, call)


if __name__ == "__main__":
    main(*sys.argv[1:])
