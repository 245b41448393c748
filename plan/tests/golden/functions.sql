-- SQL with user-defined functions (Java or Python), China (Hangzhou) (cn-hangzhou)
-- the connection's name; holds for this session, so submit it together with the query (direct; high)
SET odps.session.networklink=testLink;
-- the key was read; its value's form is Spark's (public-network, spark; medium)
SET odps.internet.access.list=api.partner.example:443,restapi.amap.com:443,<public endpoint of rows>;
-- without it the sandbox forbids network, native code, threads and files (java-sandbox, pyodps, graphscope; medium)
SET odps.isolation.session.enable=true;
-- the default is Python 2.7; one SQL can't mix 2 and 3 (python; high)
SET odps.sql.python.version=cp311;
-- for Python packages with native code (pyodps; high)
SET odps.pypy.enabled=false;
-- seconds, 1 to 3600, for one batch of rows (flags, batch-timeout; high)
SET odps.function.timeout=300;
