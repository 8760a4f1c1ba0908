// Package kubernetes checks probe/statefulset.yml against Kubernetes' own types.
// It is a module of its own: they are large, and nobody who builds wemixvisor
// should fetch them.
package kubernetes

import (
	"bytes"
	"os"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"
)

// manifest reads the documents; a key or a type that Kubernetes does not know
// is an error.
func manifest(t *testing.T) (appsv1.StatefulSet, []corev1.Service) {
	t.Helper()
	text, err := os.ReadFile("../../probe/statefulset.yml")
	if err != nil {
		t.Fatal(err)
	}
	var set appsv1.StatefulSet
	var services []corev1.Service
	for _, doc := range bytes.Split(text, []byte("\n---\n")) {
		var kind struct{ APIVersion, Kind string }
		if err := yaml.Unmarshal(doc, &kind); err != nil {
			t.Fatal(err)
		}
		switch kind.APIVersion + " " + kind.Kind {
		case "apps/v1 StatefulSet":
			err = yaml.UnmarshalStrict(doc, &set)
		case "v1 Service":
			services = append(services, corev1.Service{})
			err = yaml.UnmarshalStrict(doc, &services[len(services)-1])
		default:
			t.Fatalf("want a StatefulSet and Services, have %+v", kind)
		}
		if err != nil {
			t.Errorf("%s: %v", kind.Kind, err)
		}
	}
	if set.Name == "" || len(services) == 0 {
		t.Fatalf("want a StatefulSet and its Services, have %q and %d", set.Name, len(services))
	}
	return set, services
}

func TestThePodMayStopInPeace(t *testing.T) {
	set, _ := manifest(t)
	pod := set.Spec.Template.Spec
	grace, err := time.ParseDuration(environment(pod.Containers[0])["DAEMON_SHUTDOWN_GRACE"])
	if err != nil {
		t.Fatal(err)
	}
	want := grace + 30*time.Second
	if have := pod.TerminationGracePeriodSeconds; have == nil || time.Duration(*have)*time.Second < want {
		t.Errorf("want terminationGracePeriodSeconds of %s or more, have %v", want, have)
	}
}

func TestProbesAskWhatThereIs(t *testing.T) {
	set, _ := manifest(t)
	node := set.Spec.Template.Spec.Containers[0]
	for path, p := range map[string]*corev1.Probe{"/startupz": node.StartupProbe, "/livez": node.LivenessProbe, "/readyz": node.ReadinessProbe} {
		switch {
		case p == nil || p.HTTPGet == nil:
			t.Errorf("want a probe that asks %s, have %+v", path, p)
		case p.HTTPGet.Path != path || port(node, p.HTTPGet.Port) != 9090:
			t.Errorf("want %s on 9090, have %+v", path, p.HTTPGet)
		case p.TimeoutSeconds < 1 || p.PeriodSeconds < p.TimeoutSeconds:
			t.Errorf("%s: want a period above its timeout, have %+v", path, p)
		}
	}
	if s := node.StartupProbe; s.PeriodSeconds*s.FailureThreshold < 1800 {
		t.Errorf("want time to repair a database, have %d times %d s", s.FailureThreshold, s.PeriodSeconds)
	}
	if l := node.LivenessProbe; l.FailureThreshold < 3 {
		t.Errorf("want no kill for one lost answer, have %d", l.FailureThreshold)
	}
}

func TestThePodHasNoPrivileges(t *testing.T) {
	set, _ := manifest(t)
	pod, node := set.Spec.Template.Spec.SecurityContext, set.Spec.Template.Spec.Containers[0].SecurityContext
	if pod.RunAsNonRoot == nil || !*pod.RunAsNonRoot || *pod.RunAsUser != 65532 || *pod.FSGroup != 65532 {
		t.Errorf("want the image's user, have %+v", pod)
	}
	if pod.FSGroupChangePolicy == nil || *pod.FSGroupChangePolicy != corev1.FSGroupChangeOnRootMismatch {
		t.Errorf("want no walk through the chain at each start, have %v", pod.FSGroupChangePolicy)
	}
	if node.ReadOnlyRootFilesystem == nil || !*node.ReadOnlyRootFilesystem || *node.AllowPrivilegeEscalation {
		t.Errorf("want a read-only root, have %+v", node)
	}
	if c := node.Capabilities; c == nil || len(c.Drop) != 1 || c.Drop[0] != "ALL" || len(c.Add) > 0 {
		t.Errorf("want no capabilities, have %+v", c)
	}
}

func TestThingsThatNameEachOtherMeet(t *testing.T) {
	set, services := manifest(t)
	node := set.Spec.Template.Spec.Containers[0]
	labels := set.Spec.Template.Labels
	has := func(selector map[string]string) bool {
		for k, v := range selector {
			if labels[k] != v {
				return false
			}
		}
		return len(selector) > 0
	}
	if !has(set.Spec.Selector.MatchLabels) {
		t.Errorf("want the set to select its pods, have %v", set.Spec.Selector)
	}
	headless := false
	for _, s := range services {
		if !has(s.Spec.Selector) {
			t.Errorf("service %s: want it to select the pods, have %v", s.Name, s.Spec.Selector)
		}
		for _, p := range s.Spec.Ports {
			if have := port(node, p.TargetPort); have != p.Port {
				t.Errorf("service %s: want port %d of the pod, have %d", s.Name, p.Port, have)
			}
		}
		headless = headless || s.Name == set.Spec.ServiceName && s.Spec.ClusterIP == corev1.ClusterIPNone
	}
	if !headless {
		t.Errorf("want a headless service %s", set.Spec.ServiceName)
	}
	places := map[string]bool{}
	for _, v := range set.Spec.Template.Spec.Volumes {
		places[v.Name] = true
	}
	for _, c := range set.Spec.VolumeClaimTemplates {
		places[c.Name] = true
	}
	mounts := map[string]bool{}
	for _, m := range node.VolumeMounts {
		mounts[m.MountPath] = places[m.Name]
	}
	if !mounts["/data"] || !mounts["/tmp"] {
		t.Errorf("want /data and /tmp mounted, have %v of %v", node.VolumeMounts, places)
	}
}

func environment(c corev1.Container) map[string]string {
	env := map[string]string{}
	for _, e := range c.Env {
		env[e.Name] = e.Value
	}
	return env
}

// port returns the number behind a port's name.
func port(c corev1.Container, p intstr.IntOrString) int32 {
	for _, have := range c.Ports {
		if p.Type == intstr.String && have.Name == p.StrVal {
			return have.ContainerPort
		}
	}
	return p.IntVal
}
