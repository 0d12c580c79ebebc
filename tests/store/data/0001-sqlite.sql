BEGIN TRANSACTION;
CREATE TABLE es_alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT es_alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "es_alembic_version" VALUES('0001');
CREATE TABLE es_lease (
	study_id INTEGER NOT NULL, 
	epoch INTEGER NOT NULL, 
	owner TEXT, 
	heartbeat_at FLOAT NOT NULL, 
	PRIMARY KEY (study_id), 
	FOREIGN KEY(study_id) REFERENCES es_study (id) ON DELETE CASCADE
);
INSERT INTO "es_lease" VALUES(1,1,NULL,1.79536336131246805191e+09);
INSERT INTO "es_lease" VALUES(2,1,'host:1:0.00',1.79536336288018059728e+09);
CREATE TABLE es_point (
	trial_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	flops TEXT NOT NULL, 
	train_loss FLOAT, 
	validation_loss FLOAT, 
	seconds FLOAT NOT NULL, 
	PRIMARY KEY (trial_id, step), 
	FOREIGN KEY(trial_id) REFERENCES es_trial (id) ON DELETE CASCADE
);
INSERT INTO "es_point" VALUES(1,1,'1966080',4.56434774398803710937e+00,4.53113412857055664062e+00,2.18860419990960508584e-02);
INSERT INTO "es_point" VALUES(1,2,'3932160',4.52438879013061523437e+00,4.34800839424133300781e+00,3.50499669984856154769e-02);
INSERT INTO "es_point" VALUES(1,4,'7864320',4.22979950904846191406e+00,3.98469007015228271484e+00,5.85122900010901503264e-02);
INSERT INTO "es_point" VALUES(1,8,'15728640',3.71134030818939208984e+00,3.31870305538177490234e+00,1.22221359000832308083e-01);
INSERT INTO "es_point" VALUES(1,16,'31457280',2.94604447484016418457e+00,2.73152232170105,1.9073245799881988205e-01);
INSERT INTO "es_point" VALUES(1,32,'62914560',2.44516249001026153564e+00,2.21332657337188720703e+00,3.87959575997228967025e-01);
INSERT INTO "es_point" VALUES(2,6,'7667712',4.22512308756510446272e+00,3.63251185417175292968e+00,1.21040665999316843226e-01);
INSERT INTO "es_point" VALUES(2,12,'15335424',3.27380069096883152823e+00,2.97768735885620117187e+00,2.13460811999539146199e-01);
INSERT INTO "es_point" VALUES(3,6,'7372800',4.2398662567138671875e+00,3.67197620868682861328e+00,8.99810949995298869907e-02);
INSERT INTO "es_point" VALUES(3,13,'15974400',3.24853038787841796875e+00,2.9796415567398071289e+00,1.71022797996556619182e-01);
INSERT INTO "es_point" VALUES(4,1,'1966080',4.56434774398803710937e+00,4.53113412857055664062e+00,2.18860419990960508584e-02);
INSERT INTO "es_point" VALUES(4,2,'3932160',4.52438879013061523437e+00,4.34800839424133300781e+00,3.50499669984856154769e-02);
INSERT INTO "es_point" VALUES(4,4,'7864320',4.22979950904846191406e+00,3.98469007015228271484e+00,5.85122900010901503264e-02);
INSERT INTO "es_point" VALUES(4,8,'15728640',3.71134030818939208984e+00,3.31870305538177490234e+00,1.22221359000832308083e-01);
INSERT INTO "es_point" VALUES(4,16,'31457280',2.94604447484016418457e+00,2.73152232170105,1.9073245799881988205e-01);
INSERT INTO "es_point" VALUES(4,32,'62914560',2.44516249001026153564e+00,2.21332657337188720703e+00,3.87959575997228967025e-01);
INSERT INTO "es_point" VALUES(5,6,'7667712',4.22512308756510446272e+00,3.63251185417175292968e+00,1.21040665999316843226e-01);
CREATE TABLE es_segment (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	study_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	epoch INTEGER NOT NULL, 
	worker TEXT NOT NULL, 
	start_step INTEGER NOT NULL, 
	end_step INTEGER NOT NULL, 
	flops TEXT NOT NULL, 
	state TEXT NOT NULL, 
	reason TEXT, 
	reserved_at DATETIME NOT NULL, 
	ended_at DATETIME, 
	seconds FLOAT, 
	tokens BIGINT, 
	progress_step INTEGER, 
	progress_loss FLOAT, 
	progress_at DATETIME, 
	peak_memory_bytes BIGINT, 
	CONSTRAINT ck_es_segment_state CHECK (state IN ('reserved', 'done', 'lost')), 
	FOREIGN KEY(study_id) REFERENCES es_study (id) ON DELETE CASCADE, 
	FOREIGN KEY(trial_id) REFERENCES es_trial (id) ON DELETE CASCADE
);
INSERT INTO "es_segment" VALUES(1,1,1,1,'local-0',0,8,'15728640','done',NULL,'2026-11-22 16:02:28.553580','2026-11-22 16:02:40.999620',1.22221359000832308083e-01,512,NULL,NULL,NULL,433569792);
INSERT INTO "es_segment" VALUES(2,1,1,1,'local-0',8,16,'15728640','done',NULL,'2026-11-22 16:02:41.010081','2026-11-22 16:02:41.132921',6.85110989979875739663e-02,512,NULL,NULL,NULL,434118656);
INSERT INTO "es_segment" VALUES(3,1,1,1,'local-0',16,24,'15728640','done',NULL,'2026-11-22 16:02:41.144379','2026-11-22 16:02:41.299966',1.06739327999093802645e-01,512,NULL,NULL,NULL,434118656);
INSERT INTO "es_segment" VALUES(4,1,1,1,'local-0',24,32,'15728640','done',NULL,'2026-11-22 16:02:41.313727','2026-11-22 16:02:41.452620',9.04877899993152823299e-02,512,NULL,NULL,NULL,434118656);
INSERT INTO "es_segment" VALUES(5,1,2,1,'local-0',0,12,'15335424','done',NULL,'2026-11-22 16:02:41.497947','2026-11-22 16:02:41.861841',2.13460811999539146199e-01,768,NULL,NULL,NULL,434954240);
INSERT INTO "es_segment" VALUES(6,1,3,1,'local-0',0,13,'15974400','done',NULL,'2026-11-22 16:02:41.883685','2026-11-22 16:02:42.169696',1.71022797996556619182e-01,832,NULL,NULL,NULL,434954240);
INSERT INTO "es_segment" VALUES(7,2,5,1,'local-0',0,10,'12779520','lost','worker died with exit code -9','2026-11-22 16:02:42.841608','2026-11-22 16:02:42.857131',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "es_segment" VALUES(8,2,5,1,'local-0',0,10,'12779520','done',NULL,'2026-11-22 16:02:42.864108','2026-11-22 16:02:42.870506',0.5,640,NULL,NULL,NULL,NULL);
INSERT INTO "es_segment" VALUES(9,2,5,1,'local-0',10,20,'12779520','reserved',NULL,'2026-11-22 16:02:42.879138',NULL,NULL,NULL,12,3.25,'2026-11-22 16:02:42.880497',NULL);
CREATE TABLE es_study (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	name TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	config JSON NOT NULL, 
	protocol JSON NOT NULL, 
	protocol_id TEXT NOT NULL, 
	budget TEXT NOT NULL, 
	spent TEXT NOT NULL, 
	lost TEXT NOT NULL, 
	reserved TEXT NOT NULL, 
	state TEXT NOT NULL, 
	seconds FLOAT NOT NULL, 
	CONSTRAINT uq_es_study_name UNIQUE (name), 
	CONSTRAINT ck_es_study_state CHECK (state IN ('new', 'running', 'stopped', 'finished'))
);
INSERT INTO "es_study" VALUES(1,'tiny','2026-11-22 16:02:27.495427','{"name": "tiny", "space": "/home/someone/space.yaml", "budget": 100000000, "data": "/home/someone/text", "sampler": "tpe", "seed": 0, "rungs": [16000000, 32000000], "reduction": 3, "ladder": [[16, 64000000]], "implementation": "auto", "plan": {"rungs": [16000000, 32000000], "reduction": 3, "ladder": [{"width": 16, "flops": 64000000}], "space": {"name": "tiny", "description": "", "structures": ["(0.5|0|0.5|0|0.5|0.5|0)", "(1|0|0|0|1|0|0.5)", "(0.5|0.5|0|0.5|0.5|0|0)", "(0.5|0|0.5|0|0.5|0.5|0.25)"], "factors": 2, "zero": [], "max_indices": null, "where": [], "sites": "same", "fixed": {}, "mixture": null, "widths": [16], "depth": 1, "head_size": 8, "ffn_expansion": 4}, "segment": 16000000}}','{"protocol": {"context": 16, "batch": 4, "optimizer": "adamw", "learning_rate": 0.003, "base_width": 64, "base_ffn_expansion": 4, "warmup_steps": 2, "beta1": 0.9, "beta2": 0.95, "epsilon": 1e-08, "momentum": 0.9, "weight_decay": 0.0, "clip": 1.0, "residual": "paper", "weight_normalization": true, "balance_weight": 0.01, "embedding_std": 0.02, "validation_sequences": 8, "evaluations_per_octave": 1}, "code": "0.1.0+66624fdb", "data_name": "text", "data_hash": "095f341cbc331563ba7e0a85530a598e632eb330897f4205f1f0de5065f9d204", "torch": "2.13.0+cpu", "device": "cpu", "precision": "float32"}','d1a20fbda7a648b2','100000000','94224384','0','0','finished',1.41884879290009848773e+01);
INSERT INTO "es_study" VALUES(2,'interrupted','2026-11-22 16:02:42.787651','{"name": "tiny", "space": "/home/someone/space.yaml", "budget": 100000000, "data": "/home/someone/text", "sampler": "tpe", "seed": 0, "rungs": [16000000, 32000000], "reduction": 3, "ladder": [[16, 64000000]], "implementation": "auto", "plan": {"rungs": [16000000, 32000000], "reduction": 3, "ladder": [{"width": 16, "flops": 64000000}], "space": {"name": "tiny", "description": "", "structures": ["(0.5|0|0.5|0|0.5|0.5|0)", "(1|0|0|0|1|0|0.5)", "(0.5|0.5|0|0.5|0.5|0|0)", "(0.5|0|0.5|0|0.5|0.5|0.25)"], "factors": 2, "zero": [], "max_indices": null, "where": [], "sites": "same", "fixed": {}, "mixture": null, "widths": [16], "depth": 1, "head_size": 8, "ffn_expansion": 4}, "segment": 16000000}}','{"protocol": {"context": 16, "batch": 4, "optimizer": "adamw", "learning_rate": 0.003, "base_width": 64, "base_ffn_expansion": 4, "warmup_steps": 2, "beta1": 0.9, "beta2": 0.95, "epsilon": 1e-08, "momentum": 0.9, "weight_decay": 0.0, "clip": 1.0, "residual": "paper", "weight_normalization": true, "balance_weight": 0.01, "embedding_std": 0.02, "validation_sequences": 8, "evaluations_per_octave": 1}, "code": "0.1.0+66624fdb", "data_name": "text", "data_hash": "095f341cbc331563ba7e0a85530a598e632eb330897f4205f1f0de5065f9d204", "torch": "2.13.0+cpu", "device": "cpu", "precision": "float32"}','d1a20fbda7a648b2','100000000000000000001','12779520','12779520','12779520','new',0.0);
CREATE TABLE es_trial (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	study_id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	"key" TEXT NOT NULL, 
	seed BIGINT NOT NULL, 
	kind TEXT NOT NULL, 
	candidate JSON NOT NULL, 
	label TEXT NOT NULL, 
	state TEXT NOT NULL, 
	reason TEXT, 
	rung INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	flops_per_step TEXT NOT NULL, 
	flops_done TEXT NOT NULL, 
	parameters BIGINT NOT NULL, 
	facts JSON NOT NULL, 
	suggestion JSON, 
	environment JSON, 
	checkpoint TEXT, 
	reused_from INTEGER, 
	created_at DATETIME NOT NULL, 
	finished_at DATETIME, 
	CONSTRAINT uq_es_trial_number UNIQUE (study_id, number), 
	CONSTRAINT uq_es_trial_key_seed UNIQUE (study_id, "key", seed), 
	CONSTRAINT ck_es_trial_kind CHECK (kind IN ('ladder', 'search', 'final')), 
	CONSTRAINT ck_es_trial_state CHECK (state IN ('queued', 'running', 'paused', 'complete', 'failed')), 
	FOREIGN KEY(study_id) REFERENCES es_study (id) ON DELETE CASCADE
);
INSERT INTO "es_trial" VALUES(1,1,0,'0baca129269d',0,'ladder','{"attention": "a,ab->b; a=1, b=1", "ffn": "a,ab->b; a=1, b=1", "shape": {"family": "gpt2", "width": 16, "depth": 1, "head_size": 8, "ffn_expansion": 4}}','Dense','complete',NULL,-1,32,'1966080','62914560',6464,'{"theta": "dense", "family": "Dense", "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 1.0}, "width": 16, "depth": 1, "active_parameters": 6464, "forward_macs": {"attention_layers": 1024, "ffn_layers": 2048, "attention_scores": 512, "head": 1536, "routers": 0}, "layers": {"q": {"sizes": "a16 b16", "parameters": 256, "active_parameters": 256, "macs": 256, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 1.0}}, "k": {"sizes": "a16 b16", "parameters": 256, "active_parameters": 256, "macs": 256, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 1.0}}, "v": {"sizes": "a16 b16", "parameters": 256, "active_parameters": 256, "macs": 256, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 1.0}}, "o": {"sizes": "a16 b16", "parameters": 256, "active_parameters": 256, "macs": 256, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 1.0}}, "up": {"sizes": "a16 b64", "parameters": 1024, "active_parameters": 1024, "macs": 1024, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 1.0}}, "down": {"sizes": "a64 b16", "parameters": 1024, "active_parameters": 1024, "macs": 1024, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 1.0}}}}',NULL,'{"torch": "2.13.0+cpu", "device": "cpu", "activations": "row-major", "implementations": ["reference"], "statistics": {"gradient_norm": 2.502401351928711, "greatest_gradient_norm": 4.306497573852539, "greatest_loss_rise": 0.17720675468444824}}','/home/someone/runs/tiny/checkpoints/0000-0baca129269d-0/step-00000032',NULL,'2026-11-22 16:02:28.512115','2026-11-22 16:02:41.452829');
INSERT INTO "es_trial" VALUES(2,1,1,'f3ac51b7d175',0,'search','{"attention": "(0.5|0|0.5|0|0.5|0.5|0)", "ffn": "(0.5|0|0.5|0|0.5|0.5|0)", "shape": {"family": "gpt2", "width": 16, "depth": 1, "head_size": 8, "ffn_expansion": 4}}','BTT rank 1','paused',NULL,0,12,'1277952','15335424',4680,'{"theta": "(0.5|0|0.5|0|0.5|0.5|0)", "family": "BTT rank 1", "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 0.5}, "width": 16, "depth": 1, "active_parameters": 4680, "forward_macs": {"attention_layers": 512, "ffn_layers": 768, "attention_scores": 512, "head": 1536, "routers": 0}, "layers": {"q": {"sizes": "a4 g4 e4 f4", "parameters": 128, "active_parameters": 128, "macs": 128, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 0.5}}, "k": {"sizes": "a4 g4 e4 f4", "parameters": 128, "active_parameters": 128, "macs": 128, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 0.5}}, "v": {"sizes": "a4 g4 e4 f4", "parameters": 128, "active_parameters": 128, "macs": 128, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 0.5}}, "o": {"sizes": "a4 g4 e4 f4", "parameters": 128, "active_parameters": 128, "macs": 128, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 0.5}}, "up": {"sizes": "a4 g4 e8 f8", "parameters": 384, "active_parameters": 384, "macs": 384, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 0.5}}, "down": {"sizes": "a8 g8 e4 f4", "parameters": 384, "active_parameters": 384, "macs": 384, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 0.5}}}}','{"params": {"width": 0, "all.structure": 0}, "memory": {}}','{"torch": "2.13.0+cpu", "device": "cpu", "activations": "row-major", "implementations": ["merged"], "statistics": {"gradient_norm": 1.018397331237793, "greatest_gradient_norm": 1.571059226989746, "greatest_loss_rise": 0.0}}','/home/someone/runs/tiny/checkpoints/0001-f3ac51b7d175-0/step-00000012',NULL,'2026-11-22 16:02:41.496241',NULL);
INSERT INTO "es_trial" VALUES(3,1,2,'671364efca95',0,'search','{"attention": "(1|0|0|0|1|0|0.5)", "ffn": "(1|0|0|0|1|0|0.5)", "shape": {"family": "gpt2", "width": 16, "depth": 1, "head_size": 8, "ffn_expansion": 4}}','Low rank d^0.5','paused',NULL,0,13,'1228800','15974400',4552,'{"theta": "(1|0|0|0|1|0|0.5)", "family": "Low rank", "taxonomy": {"omega": 0.0, "psi": 0.5, "nu": 0.5}, "width": 16, "depth": 1, "active_parameters": 4552, "forward_macs": {"attention_layers": 512, "ffn_layers": 640, "attention_scores": 512, "head": 1536, "routers": 0}, "layers": {"q": {"sizes": "a16 e16 r4", "parameters": 128, "active_parameters": 128, "macs": 128, "rank_bound": 4, "padded": false, "taxonomy": {"omega": 0.0, "psi": 0.5, "nu": 0.5}}, "k": {"sizes": "a16 e16 r4", "parameters": 128, "active_parameters": 128, "macs": 128, "rank_bound": 4, "padded": false, "taxonomy": {"omega": 0.0, "psi": 0.5, "nu": 0.5}}, "v": {"sizes": "a16 e16 r4", "parameters": 128, "active_parameters": 128, "macs": 128, "rank_bound": 4, "padded": false, "taxonomy": {"omega": 0.0, "psi": 0.5, "nu": 0.5}}, "o": {"sizes": "a16 e16 r4", "parameters": 128, "active_parameters": 128, "macs": 128, "rank_bound": 4, "padded": false, "taxonomy": {"omega": 0.0, "psi": 0.5, "nu": 0.5}}, "up": {"sizes": "a16 e64 r4", "parameters": 320, "active_parameters": 320, "macs": 320, "rank_bound": 4, "padded": false, "taxonomy": {"omega": 0.0, "psi": 0.5, "nu": 0.5}}, "down": {"sizes": "a64 e16 r4", "parameters": 320, "active_parameters": 320, "macs": 320, "rank_bound": 4, "padded": false, "taxonomy": {"omega": 0.0, "psi": 0.5, "nu": 0.5}}}}','{"params": {"width": 0, "all.structure": 1}, "memory": {}}','{"torch": "2.13.0+cpu", "device": "cpu", "activations": "row-major", "implementations": ["reference"], "statistics": {"gradient_norm": 1.4109963178634644, "greatest_gradient_norm": 4.323655605316162, "greatest_loss_rise": 0.0}}','/home/someone/runs/tiny/checkpoints/0002-671364efca95-0/step-00000013',NULL,'2026-11-22 16:02:41.880892',NULL);
INSERT INTO "es_trial" VALUES(4,2,0,'0baca129269d',0,'ladder','{"attention": "a,ab->b; a=1, b=1", "ffn": "a,ab->b; a=1, b=1", "shape": {"family": "gpt2", "width": 16, "depth": 1, "head_size": 8, "ffn_expansion": 4}}','Dense','complete',NULL,-1,32,'1966080','62914560',6464,'{"theta": "dense", "family": "Dense", "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 1.0}, "width": 16, "depth": 1, "active_parameters": 6464, "forward_macs": {"attention_layers": 1024, "ffn_layers": 2048, "attention_scores": 512, "head": 1536, "routers": 0}, "layers": {"q": {"sizes": "a16 b16", "parameters": 256, "active_parameters": 256, "macs": 256, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 1.0}}, "k": {"sizes": "a16 b16", "parameters": 256, "active_parameters": 256, "macs": 256, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 1.0}}, "v": {"sizes": "a16 b16", "parameters": 256, "active_parameters": 256, "macs": 256, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 1.0}}, "o": {"sizes": "a16 b16", "parameters": 256, "active_parameters": 256, "macs": 256, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 1.0}}, "up": {"sizes": "a16 b64", "parameters": 1024, "active_parameters": 1024, "macs": 1024, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 1.0}}, "down": {"sizes": "a64 b16", "parameters": 1024, "active_parameters": 1024, "macs": 1024, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 1.0}}}}',NULL,'{"torch": "2.13.0+cpu", "device": "cpu", "activations": "row-major", "implementations": ["reference"], "statistics": {"gradient_norm": 2.502401351928711, "greatest_gradient_norm": 4.306497573852539, "greatest_loss_rise": 0.17720675468444824}}','/home/someone/runs/tiny/checkpoints/0000-0baca129269d-0/step-00000032',1,'2026-11-22 16:02:42.817976','2026-11-22 16:02:41.452829');
INSERT INTO "es_trial" VALUES(5,2,1,'f3ac51b7d175',7,'search','{"attention": "(0.5|0|0.5|0|0.5|0.5|0)", "ffn": "(0.5|0|0.5|0|0.5|0.5|0)", "shape": {"family": "gpt2", "width": 16, "depth": 1, "head_size": 8, "ffn_expansion": 4}}','BTT rank 1','running',NULL,-1,10,'1277952','12779520',4680,'{"theta": "(0.5|0|0.5|0|0.5|0.5|0)", "family": "BTT rank 1", "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 0.5}, "width": 16, "depth": 1, "active_parameters": 4680, "forward_macs": {"attention_layers": 512, "ffn_layers": 768, "attention_scores": 512, "head": 1536, "routers": 0}, "layers": {"q": {"sizes": "a4 g4 e4 f4", "parameters": 128, "active_parameters": 128, "macs": 128, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 0.5}}, "k": {"sizes": "a4 g4 e4 f4", "parameters": 128, "active_parameters": 128, "macs": 128, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 0.5}}, "v": {"sizes": "a4 g4 e4 f4", "parameters": 128, "active_parameters": 128, "macs": 128, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 0.5}}, "o": {"sizes": "a4 g4 e4 f4", "parameters": 128, "active_parameters": 128, "macs": 128, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 0.5}}, "up": {"sizes": "a4 g4 e8 f8", "parameters": 384, "active_parameters": 384, "macs": 384, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 0.5}}, "down": {"sizes": "a8 g8 e4 f4", "parameters": 384, "active_parameters": 384, "macs": 384, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 0.5}}}}','{"params": {"width": 0, "all.structure": 0}, "memory": {}}','{"device": "cpu"}',NULL,NULL,'2026-11-22 16:02:42.832231',NULL);
CREATE INDEX ix_es_segment_study ON es_segment (study_id);
CREATE INDEX ix_es_segment_trial ON es_segment (trial_id);
CREATE UNIQUE INDEX uq_es_segment_reserved ON es_segment (trial_id) WHERE state = 'reserved';
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('es_study',2);
INSERT INTO "sqlite_sequence" VALUES('es_trial',5);
INSERT INTO "sqlite_sequence" VALUES('es_segment',9);
COMMIT;
