"""Runs one peer, as `benches/peers/src/worker.rs` asks for it.

``worker.py FOLDER peers`` prints who takes part. ``worker.py FOLDER run WORKLOAD PEER URL CA`` makes that peer and
reads lines from stdin: ``warm``, or ``COUNT MILLISECONDS`` for a turn; each is answered with a line of JSON. FOLDER
holds a folder for each distribution: only the peer's own is on its path, so that none replaces a module of another's.
"""

import sys

import peers


def start(peer: str, url: str, ca: str) -> None:
    """What a process does that wants one answer; its exit code says whether it got it."""
    if peers.START[peer].make(url, ca)() != peers.BODY:
        sys.exit("the body is another one")


def main(folder: str, command: str, *arguments: str) -> None:
    """Do what the command says."""
    if command == "peers":
        import turns

        turns.tell(folder)
        return
    workload, peer, url, ca = arguments
    peers.enter(folder, peers.WORKLOADS[workload][peer])
    if workload == "start":
        start(peer, url, ca)
    else:
        import turns

        turns.serve(workload, peer, url, ca)


if __name__ == "__main__":
    main(*sys.argv[1:])
