package androidx.activity;

public class ComponentActivity extends android.content.Context implements androidx.lifecycle.LifecycleOwner {
    protected void onCreate(android.os.Bundle savedInstanceState) { }
    protected void onDestroy() { }
    public void setContentView(android.view.View view) { }
    public final <I, O> androidx.activity.result.ActivityResultLauncher<I> registerForActivityResult(androidx.activity.result.contract.ActivityResultContract<I, O> contract, androidx.activity.result.ActivityResultCallback<O> callback) { return null; }
}
