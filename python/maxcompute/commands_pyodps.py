"""The same from PyODPS: uploads what lies in this folder, makes the functions, and runs a query with them."""

from odps import ODPS

odps = ODPS.from_environments()
with open("pinlink-@VERSION@.zip", "rb") as archive:
    odps.create_resource("pinlink.zip", "archive", file_obj=archive)
for name, kind in [("functions.py", "py"), ("probe.py", "py"), ("service.json", "file")]:
    with open(name, "rb") as resource:
        odps.create_resource(name, kind, file_obj=resource)
for name, function in [("look_up", "LookUp"), ("look_up_rows", "LookUpRows"), ("insert_orders", "InsertOrders")]:
    odps.create_function(
        name, class_type=f"functions.{function}", resources=["functions.py", "service.json", "pinlink.zip"]
    )

# What looks at the way to some targets from inside a job: the first thing to call.
odps.create_function("pinlink_probe", class_type="probe.Probe", resources=["probe.py", "pinlink.zip"])

hints = {
    "odps.sql.python.version": "cp311",
    "odps.isolation.session.enable": "true",
    "odps.pypy.enabled": "false",
    "odps.session.networklink": "my_network_link",
    "odps.function.timeout": "600",
}
odps.execute_sql("SELECT look_up_rows(id) AS (id, row) FROM my_table", hints=hints)

# In a DataFrame of PyODPS a function finds the package by itself:
# frame.apply(function, axis=1, names=["row"], types=["string"]).execute(libraries=["pinlink.zip"], hints=hints)
