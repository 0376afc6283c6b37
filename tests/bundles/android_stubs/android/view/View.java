package android.view;

public class View { public View(android.content.Context context) { } public android.content.res.Resources getResources() { return null; } public final int getWidth() { return 0; } public final int getHeight() { return 0; } public boolean post(Runnable action) { return true; } public void invalidate() { } public CharSequence getContentDescription() { return ""; } public void setContentDescription(CharSequence text) { } protected void onDraw(android.graphics.Canvas canvas) { } }
