import importlib.util, random, time, json, pathlib
spec = importlib.util.spec_from_file_location("tpb", pathlib.Path(__file__).with_name("test_pg_backup.py"))
tpb = importlib.util.module_from_spec(spec); spec.loader.exec_module(tpb)
def test_kill(postgres_server, tmp_path, run_module):
    site = tpb.Site(postgres_server, tmp_path/"b", run_module)
    site.sql("CREATE TABLE big AS SELECT g, md5(g::text) AS x FROM generate_series(1, 150000) g")
    site.take()
    done = killed = 0
    swept = 0
    for i in range(50):
        run = site.process()
        time.sleep(random.uniform(0.25, 1.4))
        run.kill(); out, _ = run.communicate()
        if out.strip():
            r = json.loads(out); done += 1; swept += len(r.get("swept", [])); assert "msg" not in r, r
        else: killed += 1
        assert all(e["verified"] for e in site.listed())
    tpb.until(lambda: site.dumps_at_work() == 0)
    last = site.run(); assert last.rc == 0, last.json
    print("done", done, "killed", killed, "swept in full runs", swept, "listed", len(site.listed()), "seq", site.listed()[0]["sequence"])
    assert site.run("verified").rc == 0
    assert {n.split(".",1)[1] for n in site.files if n != ".lock"} == {"dump","json"}
