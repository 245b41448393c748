"""MaxFrame: a column that a service knows, fetched in the job, chunk by chunk.

``python enrich.py TABLE RESULT`` submits it; the credentials are PyODPS's, from the environment. pinlink is an ARCHIVE
resource of the project (``dist/maxcompute/`` has it, with the commands).
"""

import json
import sys

import maxframe
import maxframe.dataframe as md
import numpy as np
import pandas as pd
from maxframe.udf import with_network_options, with_resources
from odps import ODPS

HOST = "service.example"
OPTIONS = {"hosts": f"https://{HOST}", "job_connections": 64, "workers": 16}


def enrich(frame, url=f"https://{HOST}", options=OPTIONS):
    """A frame's ``id`` (whole numbers), what the service knows of each (``row``), and why not (``error``)."""

    @with_resources("pinlink.zip")
    @with_network_options(public_whitelist=[HOST])
    def enriched(chunk):
        # This goes to the job's workers, so it imports what they have. All chunks of a worker share one client.
        import sys

        if "work/pinlink.zip" not in sys.path:
            sys.path.insert(0, "work/pinlink.zip")
        import pinlink

        client = pinlink.Client.shared(**options)
        rows, errors = [], []
        for answer in client.map(f"{url}/rows/{id}" for id in chunk["id"]):
            try:
                # An outcome is an answer, of any status, or the exception that says why there is none.
                if isinstance(answer, Exception):
                    raise answer
                row, error = answer.raise_for_status().text, None
            except pinlink.Error as failed:
                row, error = None, str(failed)
            rows.append(row)
            errors.append(error)
        return chunk.assign(row=rows, error=errors)

    columns = pd.Series({"id": np.dtype("int64"), "row": np.dtype("O"), "error": np.dtype("O")})
    return frame.mf.apply_chunk(enriched, dtypes=columns, output_type="dataframe", skip_infer=True)


if __name__ == "__main__":
    session = maxframe.new_session(ODPS.from_environments())
    table, result = sys.argv[1:]
    done = enrich(md.read_odps_table(table, columns=["id"])).to_odps_table(result).execute()
    print(json.dumps({"result": result, "session": session.session_id}))
    session.destroy()
