CREATE TABLE IF NOT EXISTS "runs" (
	run_uuid VARCHAR(32) NOT NULL, 
	name VARCHAR(250), 
	source_type VARCHAR(20), 
	source_name VARCHAR(500), 
	entry_point_name VARCHAR(50), 
	user_id VARCHAR(256), 
	status VARCHAR(9), 
	start_time BIGINT, 
	end_time BIGINT, 
	source_version VARCHAR(50), 
	lifecycle_stage VARCHAR(20), 
	artifact_uri VARCHAR(200), 
	experiment_id INTEGER, deleted_time BIGINT, 
	CONSTRAINT run_pk PRIMARY KEY (run_uuid), 
	CONSTRAINT source_type CHECK (source_type IN ('NOTEBOOK', 'JOB', 'LOCAL', 'UNKNOWN', 'PROJECT')), 
	CONSTRAINT runs_lifecycle_stage CHECK (lifecycle_stage IN ('active', 'deleted')), 
	FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id), 
	CHECK (status IN ('SCHEDULED', 'FAILED', 'FINISHED', 'RUNNING', 'KILLED'))
);
INSERT INTO runs VALUES('3e64ab2ae5684c90a328644a013c4137','s-10','UNKNOWN','','','ann','FINISHED',1795398576503,1795398576557,'','active','/tmp/sweep/mlruns/1/3e64ab2ae5684c90a328644a013c4137/artifacts',1,NULL);
INSERT INTO runs VALUES('0440f3b86a754f4584a356937222fc4d','s-50','UNKNOWN','','','ann','FINISHED',1795398576565,1795398576600,'','active','/tmp/sweep/mlruns/1/0440f3b86a754f4584a356937222fc4d/artifacts',1,NULL);
INSERT INTO runs VALUES('b3e4fc0b1de24e79961555b44138772c','m-10','UNKNOWN','','','ann','FINISHED',1795398576606,1795398576644,'','active','/tmp/sweep/mlruns/1/b3e4fc0b1de24e79961555b44138772c/artifacts',1,NULL);
INSERT INTO runs VALUES('20783d9ecbf046c0a09a8a54abdc1205','mistake','UNKNOWN','','','ann','FINISHED',1795398576650,1795398576663,'','deleted','/tmp/sweep/mlruns/1/20783d9ecbf046c0a09a8a54abdc1205/artifacts',1,1795398576669);
CREATE TABLE IF NOT EXISTS "params" (
	"key" VARCHAR(250) NOT NULL, 
	value VARCHAR(8000) NOT NULL, 
	run_uuid VARCHAR(32) NOT NULL, 
	CONSTRAINT param_pk PRIMARY KEY ("key", run_uuid), 
	FOREIGN KEY(run_uuid) REFERENCES runs (run_uuid)
);
INSERT INTO params VALUES('model_name','s','3e64ab2ae5684c90a328644a013c4137');
INSERT INTO params VALUES('num_params','38800000','3e64ab2ae5684c90a328644a013c4137');
INSERT INTO params VALUES('num_inference_steps','10','3e64ab2ae5684c90a328644a013c4137');
INSERT INTO params VALUES('guidance_scale','1.0','3e64ab2ae5684c90a328644a013c4137');
INSERT INTO params VALUES('sampler','ddim','3e64ab2ae5684c90a328644a013c4137');
INSERT INTO params VALUES('seed','0','3e64ab2ae5684c90a328644a013c4137');
INSERT INTO params VALUES('text','None','3e64ab2ae5684c90a328644a013c4137');
INSERT INTO params VALUES('model_name','s','0440f3b86a754f4584a356937222fc4d');
INSERT INTO params VALUES('num_params','38800000','0440f3b86a754f4584a356937222fc4d');
INSERT INTO params VALUES('num_inference_steps','50','0440f3b86a754f4584a356937222fc4d');
INSERT INTO params VALUES('guidance_scale','7.5','0440f3b86a754f4584a356937222fc4d');
INSERT INTO params VALUES('sampler','ddim','0440f3b86a754f4584a356937222fc4d');
INSERT INTO params VALUES('seed','1','0440f3b86a754f4584a356937222fc4d');
INSERT INTO params VALUES('text','None','0440f3b86a754f4584a356937222fc4d');
INSERT INTO params VALUES('model_name','m','b3e4fc0b1de24e79961555b44138772c');
INSERT INTO params VALUES('num_params','144800000','b3e4fc0b1de24e79961555b44138772c');
INSERT INTO params VALUES('num_inference_steps','10','b3e4fc0b1de24e79961555b44138772c');
INSERT INTO params VALUES('guidance_scale','7.5','b3e4fc0b1de24e79961555b44138772c');
INSERT INTO params VALUES('sampler','ddim','b3e4fc0b1de24e79961555b44138772c');
INSERT INTO params VALUES('seed','2','b3e4fc0b1de24e79961555b44138772c');
INSERT INTO params VALUES('text','None','b3e4fc0b1de24e79961555b44138772c');
INSERT INTO params VALUES('num_params','1','20783d9ecbf046c0a09a8a54abdc1205');
CREATE TABLE IF NOT EXISTS "latest_metrics" (
	"key" VARCHAR(250) NOT NULL, 
	value FLOAT NOT NULL, 
	timestamp BIGINT, 
	step BIGINT NOT NULL, 
	is_nan BOOLEAN NOT NULL, 
	run_uuid VARCHAR(32) NOT NULL, 
	CONSTRAINT latest_metric_pk PRIMARY KEY ("key", run_uuid), 
	FOREIGN KEY(run_uuid) REFERENCES runs (run_uuid), 
	CHECK (is_nan IN (0, 1))
);
INSERT INTO latest_metrics VALUES('FID',31.5,1795398576542,2,0,'3e64ab2ae5684c90a328644a013c4137');
INSERT INTO latest_metrics VALUES('eval/clip_score',0.29999999999999998889,1795398576548,0,0,'3e64ab2ae5684c90a328644a013c4137');
INSERT INTO latest_metrics VALUES('FID',25.30000000000000071,1795398576587,2,0,'0440f3b86a754f4584a356937222fc4d');
INSERT INTO latest_metrics VALUES('eval/clip_score',0.29999999999999998889,1795398576592,0,0,'0440f3b86a754f4584a356937222fc4d');
INSERT INTO latest_metrics VALUES('FID',24.899999999999998579,1795398576630,2,0,'b3e4fc0b1de24e79961555b44138772c');
INSERT INTO latest_metrics VALUES('eval/clip_score',0.29999999999999998889,1795398576636,0,0,'b3e4fc0b1de24e79961555b44138772c');
CREATE TABLE IF NOT EXISTS "tags" (
	"key" VARCHAR(250) NOT NULL, 
	value VARCHAR(8000), 
	run_uuid VARCHAR(32) NOT NULL, 
	CONSTRAINT tag_pk PRIMARY KEY ("key", run_uuid), 
	FOREIGN KEY(run_uuid) REFERENCES runs (run_uuid)
);
INSERT INTO tags VALUES('mlflow.user','ann','3e64ab2ae5684c90a328644a013c4137');
INSERT INTO tags VALUES('mlflow.source.name','a.py','3e64ab2ae5684c90a328644a013c4137');
INSERT INTO tags VALUES('mlflow.source.type','LOCAL','3e64ab2ae5684c90a328644a013c4137');
INSERT INTO tags VALUES('mlflow.runName','s-10','3e64ab2ae5684c90a328644a013c4137');
INSERT INTO tags VALUES('team','images','3e64ab2ae5684c90a328644a013c4137');
INSERT INTO tags VALUES('mlflow.user','ann','0440f3b86a754f4584a356937222fc4d');
INSERT INTO tags VALUES('mlflow.source.name','a.py','0440f3b86a754f4584a356937222fc4d');
INSERT INTO tags VALUES('mlflow.source.type','LOCAL','0440f3b86a754f4584a356937222fc4d');
INSERT INTO tags VALUES('mlflow.runName','s-50','0440f3b86a754f4584a356937222fc4d');
INSERT INTO tags VALUES('team','images','0440f3b86a754f4584a356937222fc4d');
INSERT INTO tags VALUES('mlflow.user','ann','b3e4fc0b1de24e79961555b44138772c');
INSERT INTO tags VALUES('mlflow.source.name','a.py','b3e4fc0b1de24e79961555b44138772c');
INSERT INTO tags VALUES('mlflow.source.type','LOCAL','b3e4fc0b1de24e79961555b44138772c');
INSERT INTO tags VALUES('mlflow.runName','m-10','b3e4fc0b1de24e79961555b44138772c');
INSERT INTO tags VALUES('team','images','b3e4fc0b1de24e79961555b44138772c');
INSERT INTO tags VALUES('mlflow.user','ann','20783d9ecbf046c0a09a8a54abdc1205');
INSERT INTO tags VALUES('mlflow.source.name','a.py','20783d9ecbf046c0a09a8a54abdc1205');
INSERT INTO tags VALUES('mlflow.source.type','LOCAL','20783d9ecbf046c0a09a8a54abdc1205');
INSERT INTO tags VALUES('mlflow.runName','mistake','20783d9ecbf046c0a09a8a54abdc1205');
