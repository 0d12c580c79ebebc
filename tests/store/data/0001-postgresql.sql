CREATE TABLE public.es_alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.es_lease (
    study_id integer NOT NULL,
    epoch integer NOT NULL,
    owner text,
    heartbeat_at double precision NOT NULL
);
CREATE TABLE public.es_point (
    trial_id integer NOT NULL,
    step integer NOT NULL,
    flops numeric(38,0) NOT NULL,
    train_loss double precision,
    validation_loss double precision,
    seconds double precision NOT NULL
);
CREATE TABLE public.es_segment (
    id integer NOT NULL,
    study_id integer NOT NULL,
    trial_id integer NOT NULL,
    epoch integer NOT NULL,
    worker text NOT NULL,
    start_step integer NOT NULL,
    end_step integer NOT NULL,
    flops numeric(38,0) NOT NULL,
    state text NOT NULL,
    reason text,
    reserved_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    seconds double precision,
    tokens bigint,
    progress_step integer,
    progress_loss double precision,
    progress_at timestamp with time zone,
    peak_memory_bytes bigint,
    CONSTRAINT ck_es_segment_state CHECK ((state = ANY (ARRAY['reserved'::text, 'done'::text, 'lost'::text])))
);
CREATE SEQUENCE public.es_segment_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.es_segment_id_seq OWNED BY public.es_segment.id;
CREATE TABLE public.es_study (
    id integer NOT NULL,
    name text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    config json NOT NULL,
    protocol json NOT NULL,
    protocol_id text NOT NULL,
    budget numeric(38,0) NOT NULL,
    spent numeric(38,0) NOT NULL,
    lost numeric(38,0) NOT NULL,
    reserved numeric(38,0) NOT NULL,
    state text NOT NULL,
    seconds double precision NOT NULL,
    CONSTRAINT ck_es_study_state CHECK ((state = ANY (ARRAY['new'::text, 'running'::text, 'stopped'::text, 'finished'::text])))
);
CREATE SEQUENCE public.es_study_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.es_study_id_seq OWNED BY public.es_study.id;
CREATE TABLE public.es_trial (
    id integer NOT NULL,
    study_id integer NOT NULL,
    number integer NOT NULL,
    key text NOT NULL,
    seed bigint NOT NULL,
    kind text NOT NULL,
    candidate json NOT NULL,
    label text NOT NULL,
    state text NOT NULL,
    reason text,
    rung integer NOT NULL,
    step integer NOT NULL,
    flops_per_step numeric(38,0) NOT NULL,
    flops_done numeric(38,0) NOT NULL,
    parameters bigint NOT NULL,
    facts json NOT NULL,
    suggestion json,
    environment json,
    checkpoint text,
    reused_from integer,
    created_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone,
    CONSTRAINT ck_es_trial_kind CHECK ((kind = ANY (ARRAY['ladder'::text, 'search'::text, 'final'::text]))),
    CONSTRAINT ck_es_trial_state CHECK ((state = ANY (ARRAY['queued'::text, 'running'::text, 'paused'::text, 'complete'::text, 'failed'::text])))
);
CREATE SEQUENCE public.es_trial_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.es_trial_id_seq OWNED BY public.es_trial.id;
ALTER TABLE ONLY public.es_segment ALTER COLUMN id SET DEFAULT nextval('public.es_segment_id_seq'::regclass);
ALTER TABLE ONLY public.es_study ALTER COLUMN id SET DEFAULT nextval('public.es_study_id_seq'::regclass);
ALTER TABLE ONLY public.es_trial ALTER COLUMN id SET DEFAULT nextval('public.es_trial_id_seq'::regclass);
INSERT INTO public.es_alembic_version VALUES ('0001');
INSERT INTO public.es_lease VALUES (1, 1, NULL, 1795363376.67425);
INSERT INTO public.es_lease VALUES (2, 1, 'host:1:0.00', 1795363377.517839);
INSERT INTO public.es_point VALUES (1, 1, 1966080, 4.564347743988037, 4.531134128570557, 0.01686454000082449);
INSERT INTO public.es_point VALUES (1, 2, 3932160, 4.524388790130615, 4.348008394241333, 0.03064810100113391);
INSERT INTO public.es_point VALUES (1, 4, 7864320, 4.229799509048462, 3.9846900701522827, 0.04742197300220141);
INSERT INTO public.es_point VALUES (1, 8, 15728640, 3.711340308189392, 3.318703055381775, 0.08216973700473318);
INSERT INTO public.es_point VALUES (1, 16, 31457280, 2.946044474840164, 2.73152232170105, 0.14290208000602433);
INSERT INTO public.es_point VALUES (1, 32, 62914560, 2.4451624900102615, 2.213326573371887, 0.3292834780040721);
INSERT INTO public.es_point VALUES (2, 6, 7667712, 4.2251230875651045, 3.632511854171753, 0.11249329500060412);
INSERT INTO public.es_point VALUES (2, 12, 15335424, 3.2738006909688315, 2.977687358856201, 0.30154627899901243);
INSERT INTO public.es_point VALUES (3, 6, 7372800, 4.239866256713867, 3.6719762086868286, 0.18893766900146147);
INSERT INTO public.es_point VALUES (3, 13, 15974400, 3.248530387878418, 2.979641556739807, 0.3541538409990608);
INSERT INTO public.es_point VALUES (4, 1, 1966080, 4.564347743988037, 4.531134128570557, 0.01686454000082449);
INSERT INTO public.es_point VALUES (4, 2, 3932160, 4.524388790130615, 4.348008394241333, 0.03064810100113391);
INSERT INTO public.es_point VALUES (4, 4, 7864320, 4.229799509048462, 3.9846900701522827, 0.04742197300220141);
INSERT INTO public.es_point VALUES (4, 8, 15728640, 3.711340308189392, 3.318703055381775, 0.08216973700473318);
INSERT INTO public.es_point VALUES (4, 16, 31457280, 2.946044474840164, 2.73152232170105, 0.14290208000602433);
INSERT INTO public.es_point VALUES (4, 32, 62914560, 2.4451624900102615, 2.213326573371887, 0.3292834780040721);
INSERT INTO public.es_point VALUES (5, 6, 7667712, 4.2251230875651045, 3.632511854171753, 0.11249329500060412);
INSERT INTO public.es_segment VALUES (1, 1, 1, 1, 'local-0', 0, 8, 15728640, 'done', NULL, '2026-11-22 16:02:45.849691+00', '2026-11-22 16:02:55.045457+00', 0.08216973700473318, 512, NULL, NULL, NULL, 433557504);
INSERT INTO public.es_segment VALUES (2, 1, 1, 1, 'local-0', 8, 16, 15728640, 'done', NULL, '2026-11-22 16:02:55.087911+00', '2026-11-22 16:02:55.214263+00', 0.060732343001291156, 512, NULL, NULL, NULL, 434106368);
INSERT INTO public.es_segment VALUES (3, 1, 1, 1, 'local-0', 16, 24, 15728640, 'done', NULL, '2026-11-22 16:02:55.24642+00', '2026-11-22 16:02:55.402033+00', 0.09863287999905879, 512, NULL, NULL, NULL, 434106368);
INSERT INTO public.es_segment VALUES (4, 1, 1, 1, 'local-0', 24, 32, 15728640, 'done', NULL, '2026-11-22 16:02:55.428905+00', '2026-11-22 16:02:55.5958+00', 0.08774851799898897, 512, NULL, NULL, NULL, 434106368);
INSERT INTO public.es_segment VALUES (5, 1, 2, 1, 'local-0', 0, 12, 15335424, 'done', NULL, '2026-11-22 16:02:55.68273+00', '2026-11-22 16:02:56.12636+00', 0.30154627899901243, 768, NULL, NULL, NULL, 434679808);
INSERT INTO public.es_segment VALUES (6, 1, 3, 1, 'local-0', 0, 13, 15974400, 'done', NULL, '2026-11-22 16:02:56.185235+00', '2026-11-22 16:02:56.636868+00', 0.3541538409990608, 832, NULL, NULL, NULL, 434679808);
INSERT INTO public.es_segment VALUES (7, 2, 5, 1, 'local-0', 0, 10, 12779520, 'lost', 'worker died with exit code -9', '2026-11-22 16:02:57.368566+00', '2026-11-22 16:02:57.40682+00', NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.es_segment VALUES (8, 2, 5, 1, 'local-0', 0, 10, 12779520, 'done', NULL, '2026-11-22 16:02:57.445848+00', '2026-11-22 16:02:57.486172+00', 0.5, 640, NULL, NULL, NULL, NULL);
INSERT INTO public.es_segment VALUES (9, 2, 5, 1, 'local-0', 10, 20, 12779520, 'reserved', NULL, '2026-11-22 16:02:57.503744+00', NULL, NULL, NULL, 12, 3.25, '2026-11-22 16:02:57.542828+00', NULL);
INSERT INTO public.es_study VALUES (1, 'tiny', '2026-11-22 16:02:45.270847+00', '{"name": "tiny", "space": "/home/someone/space.yaml", "budget": 100000000, "data": "/home/someone/text", "sampler": "tpe", "seed": 0, "rungs": [16000000, 32000000], "reduction": 3, "ladder": [[16, 64000000]], "implementation": "auto", "plan": {"rungs": [16000000, 32000000], "reduction": 3, "ladder": [{"width": 16, "flops": 64000000}], "space": {"name": "tiny", "description": "", "structures": ["(0.5|0|0.5|0|0.5|0.5|0)", "(1|0|0|0|1|0|0.5)", "(0.5|0.5|0|0.5|0.5|0|0)", "(0.5|0|0.5|0|0.5|0.5|0.25)"], "factors": 2, "zero": [], "max_indices": null, "where": [], "sites": "same", "fixed": {}, "mixture": null, "widths": [16], "depth": 1, "head_size": 8, "ffn_expansion": 4}, "segment": 16000000}}', '{"protocol": {"context": 16, "batch": 4, "optimizer": "adamw", "learning_rate": 0.003, "base_width": 64, "base_ffn_expansion": 4, "warmup_steps": 2, "beta1": 0.9, "beta2": 0.95, "epsilon": 1e-08, "momentum": 0.9, "weight_decay": 0.0, "clip": 1.0, "residual": "paper", "weight_normalization": true, "balance_weight": 0.01, "embedding_std": 0.02, "validation_sequences": 8, "evaluations_per_octave": 1}, "code": "0.1.0+66624fdb", "data_name": "text", "data_hash": "095f341cbc331563ba7e0a85530a598e632eb330897f4205f1f0de5065f9d204", "torch": "2.13.0+cpu", "device": "cpu", "precision": "float32"}', 'd1a20fbda7a648b2', 100000000, 94224384, 0, 0, 'finished', 11.166978983001172);
INSERT INTO public.es_study VALUES (2, 'interrupted', '2026-11-22 16:02:57.212692+00', '{"name": "tiny", "space": "/home/someone/space.yaml", "budget": 100000000, "data": "/home/someone/text", "sampler": "tpe", "seed": 0, "rungs": [16000000, 32000000], "reduction": 3, "ladder": [[16, 64000000]], "implementation": "auto", "plan": {"rungs": [16000000, 32000000], "reduction": 3, "ladder": [{"width": 16, "flops": 64000000}], "space": {"name": "tiny", "description": "", "structures": ["(0.5|0|0.5|0|0.5|0.5|0)", "(1|0|0|0|1|0|0.5)", "(0.5|0.5|0|0.5|0.5|0|0)", "(0.5|0|0.5|0|0.5|0.5|0.25)"], "factors": 2, "zero": [], "max_indices": null, "where": [], "sites": "same", "fixed": {}, "mixture": null, "widths": [16], "depth": 1, "head_size": 8, "ffn_expansion": 4}, "segment": 16000000}}', '{"protocol": {"context": 16, "batch": 4, "optimizer": "adamw", "learning_rate": 0.003, "base_width": 64, "base_ffn_expansion": 4, "warmup_steps": 2, "beta1": 0.9, "beta2": 0.95, "epsilon": 1e-08, "momentum": 0.9, "weight_decay": 0.0, "clip": 1.0, "residual": "paper", "weight_normalization": true, "balance_weight": 0.01, "embedding_std": 0.02, "validation_sequences": 8, "evaluations_per_octave": 1}, "code": "0.1.0+66624fdb", "data_name": "text", "data_hash": "095f341cbc331563ba7e0a85530a598e632eb330897f4205f1f0de5065f9d204", "torch": "2.13.0+cpu", "device": "cpu", "precision": "float32"}', 'd1a20fbda7a648b2', 100000000000000000001, 12779520, 12779520, 12779520, 'new', 0);
INSERT INTO public.es_trial VALUES (1, 1, 0, '0baca129269d', 0, 'ladder', '{"attention": "a,ab->b; a=1, b=1", "ffn": "a,ab->b; a=1, b=1", "shape": {"family": "gpt2", "width": 16, "depth": 1, "head_size": 8, "ffn_expansion": 4}}', 'Dense', 'complete', NULL, -1, 32, 1966080, 62914560, 6464, '{"theta": "dense", "family": "Dense", "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 1.0}, "width": 16, "depth": 1, "active_parameters": 6464, "forward_macs": {"attention_layers": 1024, "ffn_layers": 2048, "attention_scores": 512, "head": 1536, "routers": 0}, "layers": {"q": {"sizes": "a16 b16", "parameters": 256, "active_parameters": 256, "macs": 256, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 1.0}}, "k": {"sizes": "a16 b16", "parameters": 256, "active_parameters": 256, "macs": 256, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 1.0}}, "v": {"sizes": "a16 b16", "parameters": 256, "active_parameters": 256, "macs": 256, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 1.0}}, "o": {"sizes": "a16 b16", "parameters": 256, "active_parameters": 256, "macs": 256, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 1.0}}, "up": {"sizes": "a16 b64", "parameters": 1024, "active_parameters": 1024, "macs": 1024, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 1.0}}, "down": {"sizes": "a64 b16", "parameters": 1024, "active_parameters": 1024, "macs": 1024, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 1.0}}}}', NULL, '{"torch": "2.13.0+cpu", "device": "cpu", "activations": "row-major", "implementations": ["reference"], "statistics": {"gradient_norm": 2.502401351928711, "greatest_gradient_norm": 4.306497573852539, "greatest_loss_rise": 0.17720675468444824}}', '/home/someone/runs/tiny/checkpoints/0000-0baca129269d-0/step-00000032', NULL, '2026-11-22 16:02:45.802036+00', '2026-11-22 16:02:55.598239+00');
INSERT INTO public.es_trial VALUES (2, 1, 1, 'f3ac51b7d175', 0, 'search', '{"attention": "(0.5|0|0.5|0|0.5|0.5|0)", "ffn": "(0.5|0|0.5|0|0.5|0.5|0)", "shape": {"family": "gpt2", "width": 16, "depth": 1, "head_size": 8, "ffn_expansion": 4}}', 'BTT rank 1', 'paused', NULL, 0, 12, 1277952, 15335424, 4680, '{"theta": "(0.5|0|0.5|0|0.5|0.5|0)", "family": "BTT rank 1", "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 0.5}, "width": 16, "depth": 1, "active_parameters": 4680, "forward_macs": {"attention_layers": 512, "ffn_layers": 768, "attention_scores": 512, "head": 1536, "routers": 0}, "layers": {"q": {"sizes": "a4 g4 e4 f4", "parameters": 128, "active_parameters": 128, "macs": 128, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 0.5}}, "k": {"sizes": "a4 g4 e4 f4", "parameters": 128, "active_parameters": 128, "macs": 128, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 0.5}}, "v": {"sizes": "a4 g4 e4 f4", "parameters": 128, "active_parameters": 128, "macs": 128, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 0.5}}, "o": {"sizes": "a4 g4 e4 f4", "parameters": 128, "active_parameters": 128, "macs": 128, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 0.5}}, "up": {"sizes": "a4 g4 e8 f8", "parameters": 384, "active_parameters": 384, "macs": 384, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 0.5}}, "down": {"sizes": "a8 g8 e4 f4", "parameters": 384, "active_parameters": 384, "macs": 384, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 0.5}}}}', '{"params": {"width": 0, "all.structure": 0}, "memory": {}}', '{"torch": "2.13.0+cpu", "device": "cpu", "activations": "row-major", "implementations": ["merged"], "statistics": {"gradient_norm": 1.018397331237793, "greatest_gradient_norm": 1.571059226989746, "greatest_loss_rise": 0.0}}', '/home/someone/runs/tiny/checkpoints/0001-f3ac51b7d175-0/step-00000012', NULL, '2026-11-22 16:02:55.674502+00', NULL);
INSERT INTO public.es_trial VALUES (3, 1, 2, '671364efca95', 0, 'search', '{"attention": "(1|0|0|0|1|0|0.5)", "ffn": "(1|0|0|0|1|0|0.5)", "shape": {"family": "gpt2", "width": 16, "depth": 1, "head_size": 8, "ffn_expansion": 4}}', 'Low rank d^0.5', 'paused', NULL, 0, 13, 1228800, 15974400, 4552, '{"theta": "(1|0|0|0|1|0|0.5)", "family": "Low rank", "taxonomy": {"omega": 0.0, "psi": 0.5, "nu": 0.5}, "width": 16, "depth": 1, "active_parameters": 4552, "forward_macs": {"attention_layers": 512, "ffn_layers": 640, "attention_scores": 512, "head": 1536, "routers": 0}, "layers": {"q": {"sizes": "a16 e16 r4", "parameters": 128, "active_parameters": 128, "macs": 128, "rank_bound": 4, "padded": false, "taxonomy": {"omega": 0.0, "psi": 0.5, "nu": 0.5}}, "k": {"sizes": "a16 e16 r4", "parameters": 128, "active_parameters": 128, "macs": 128, "rank_bound": 4, "padded": false, "taxonomy": {"omega": 0.0, "psi": 0.5, "nu": 0.5}}, "v": {"sizes": "a16 e16 r4", "parameters": 128, "active_parameters": 128, "macs": 128, "rank_bound": 4, "padded": false, "taxonomy": {"omega": 0.0, "psi": 0.5, "nu": 0.5}}, "o": {"sizes": "a16 e16 r4", "parameters": 128, "active_parameters": 128, "macs": 128, "rank_bound": 4, "padded": false, "taxonomy": {"omega": 0.0, "psi": 0.5, "nu": 0.5}}, "up": {"sizes": "a16 e64 r4", "parameters": 320, "active_parameters": 320, "macs": 320, "rank_bound": 4, "padded": false, "taxonomy": {"omega": 0.0, "psi": 0.5, "nu": 0.5}}, "down": {"sizes": "a64 e16 r4", "parameters": 320, "active_parameters": 320, "macs": 320, "rank_bound": 4, "padded": false, "taxonomy": {"omega": 0.0, "psi": 0.5, "nu": 0.5}}}}', '{"params": {"width": 0, "all.structure": 1}, "memory": {}}', '{"torch": "2.13.0+cpu", "device": "cpu", "activations": "row-major", "implementations": ["reference"], "statistics": {"gradient_norm": 1.4109963178634644, "greatest_gradient_norm": 4.323655605316162, "greatest_loss_rise": 0.0}}', '/home/someone/runs/tiny/checkpoints/0002-671364efca95-0/step-00000013', NULL, '2026-11-22 16:02:56.172911+00', NULL);
INSERT INTO public.es_trial VALUES (4, 2, 0, '0baca129269d', 0, 'ladder', '{"attention": "a,ab->b; a=1, b=1", "ffn": "a,ab->b; a=1, b=1", "shape": {"family": "gpt2", "width": 16, "depth": 1, "head_size": 8, "ffn_expansion": 4}}', 'Dense', 'complete', NULL, -1, 32, 1966080, 62914560, 6464, '{"theta": "dense", "family": "Dense", "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 1.0}, "width": 16, "depth": 1, "active_parameters": 6464, "forward_macs": {"attention_layers": 1024, "ffn_layers": 2048, "attention_scores": 512, "head": 1536, "routers": 0}, "layers": {"q": {"sizes": "a16 b16", "parameters": 256, "active_parameters": 256, "macs": 256, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 1.0}}, "k": {"sizes": "a16 b16", "parameters": 256, "active_parameters": 256, "macs": 256, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 1.0}}, "v": {"sizes": "a16 b16", "parameters": 256, "active_parameters": 256, "macs": 256, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 1.0}}, "o": {"sizes": "a16 b16", "parameters": 256, "active_parameters": 256, "macs": 256, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 1.0}}, "up": {"sizes": "a16 b64", "parameters": 1024, "active_parameters": 1024, "macs": 1024, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 1.0}}, "down": {"sizes": "a64 b16", "parameters": 1024, "active_parameters": 1024, "macs": 1024, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 1.0}}}}', NULL, '{"torch": "2.13.0+cpu", "device": "cpu", "activations": "row-major", "implementations": ["reference"], "statistics": {"gradient_norm": 2.502401351928711, "greatest_gradient_norm": 4.306497573852539, "greatest_loss_rise": 0.17720675468444824}}', '/home/someone/runs/tiny/checkpoints/0000-0baca129269d-0/step-00000032', 1, '2026-11-22 16:02:57.296774+00', '2026-11-22 16:02:55.598239+00');
INSERT INTO public.es_trial VALUES (5, 2, 1, 'f3ac51b7d175', 7, 'search', '{"attention": "(0.5|0|0.5|0|0.5|0.5|0)", "ffn": "(0.5|0|0.5|0|0.5|0.5|0)", "shape": {"family": "gpt2", "width": 16, "depth": 1, "head_size": 8, "ffn_expansion": 4}}', 'BTT rank 1', 'running', NULL, -1, 10, 1277952, 12779520, 4680, '{"theta": "(0.5|0|0.5|0|0.5|0.5|0)", "family": "BTT rank 1", "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 0.5}, "width": 16, "depth": 1, "active_parameters": 4680, "forward_macs": {"attention_layers": 512, "ffn_layers": 768, "attention_scores": 512, "head": 1536, "routers": 0}, "layers": {"q": {"sizes": "a4 g4 e4 f4", "parameters": 128, "active_parameters": 128, "macs": 128, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 0.5}}, "k": {"sizes": "a4 g4 e4 f4", "parameters": 128, "active_parameters": 128, "macs": 128, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 0.5}}, "v": {"sizes": "a4 g4 e4 f4", "parameters": 128, "active_parameters": 128, "macs": 128, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 0.5}}, "o": {"sizes": "a4 g4 e4 f4", "parameters": 128, "active_parameters": 128, "macs": 128, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 0.5}}, "up": {"sizes": "a4 g4 e8 f8", "parameters": 384, "active_parameters": 384, "macs": 384, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 0.5}}, "down": {"sizes": "a8 g8 e4 f4", "parameters": 384, "active_parameters": 384, "macs": 384, "rank_bound": 16, "padded": false, "taxonomy": {"omega": 0.0, "psi": 1.0, "nu": 0.5}}}}', '{"params": {"width": 0, "all.structure": 0}, "memory": {}}', '{"device": "cpu"}', NULL, NULL, '2026-11-22 16:02:57.341303+00', NULL);
SELECT pg_catalog.setval('public.es_segment_id_seq', 9, true);
SELECT pg_catalog.setval('public.es_study_id_seq', 2, true);
SELECT pg_catalog.setval('public.es_trial_id_seq', 5, true);
ALTER TABLE ONLY public.es_alembic_version
    ADD CONSTRAINT es_alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.es_lease
    ADD CONSTRAINT es_lease_pkey PRIMARY KEY (study_id);
ALTER TABLE ONLY public.es_point
    ADD CONSTRAINT es_point_pkey PRIMARY KEY (trial_id, step);
ALTER TABLE ONLY public.es_segment
    ADD CONSTRAINT es_segment_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.es_study
    ADD CONSTRAINT es_study_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.es_trial
    ADD CONSTRAINT es_trial_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.es_study
    ADD CONSTRAINT uq_es_study_name UNIQUE (name);
ALTER TABLE ONLY public.es_trial
    ADD CONSTRAINT uq_es_trial_key_seed UNIQUE (study_id, key, seed);
ALTER TABLE ONLY public.es_trial
    ADD CONSTRAINT uq_es_trial_number UNIQUE (study_id, number);
CREATE INDEX ix_es_segment_study ON public.es_segment USING btree (study_id);
CREATE INDEX ix_es_segment_trial ON public.es_segment USING btree (trial_id);
CREATE UNIQUE INDEX uq_es_segment_reserved ON public.es_segment USING btree (trial_id) WHERE (state = 'reserved'::text);
ALTER TABLE ONLY public.es_lease
    ADD CONSTRAINT es_lease_study_id_fkey FOREIGN KEY (study_id) REFERENCES public.es_study(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.es_point
    ADD CONSTRAINT es_point_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES public.es_trial(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.es_segment
    ADD CONSTRAINT es_segment_study_id_fkey FOREIGN KEY (study_id) REFERENCES public.es_study(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.es_segment
    ADD CONSTRAINT es_segment_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES public.es_trial(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.es_trial
    ADD CONSTRAINT es_trial_study_id_fkey FOREIGN KEY (study_id) REFERENCES public.es_study(id) ON DELETE CASCADE;
